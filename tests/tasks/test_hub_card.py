"""Cards hold what people wrote, whatever it is, and nothing can break out of its place."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from conceptry.errors import TrainingError
from conceptry.gate import GateFinding, GateResult
from conceptry.markdown import code, code_block, dump_front_matter, plain, split_front_matter, table
from conceptry.reasons import GateReason
from conceptry.version import Manifest, Version
from tasks.hub import Lineage, assemble
from tasks.hub.card import render_card
from tasks.hub.repo_versions import version_of
from tests.support.bundles import BASE, make_bundle, make_spec
from tests.support.trained import make_trained

HOSTILE = [
    "it's \"quoted\" {braces} ${dollars} %s",
    "---\ntitle: other\n---",
    "</script><script>alert(1)</script>",
    "[click](javascript:alert(1)) ![x](http://x/y.png) <img src=x onerror=alert(1)>",
    "| a | b |\n|---|---|",
    "# heading *bold* _it_ `code` ```fence``` ~~~",
    "yes", "null", "0o17", "1e3", "2026-11-22", ": - ? & * ! % @ `", "#", " ", "\\", "🎨 \u202e \u2028 \x85 \x00",
]  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60))


@given(st.dictionaries(st.from_regex(r"[a-zA-Z_]{1,12}", fullmatch=True), texts, max_size=4), texts)
def test_front_matter_gives_back_what_was_put_in(data: dict[str, str], body: str) -> None:
    assert split_front_matter(dump_front_matter(data) + body) == (data, body.replace("\r\n", "\n"))


@given(texts)
def test_markdown_shows_a_string_as_text(text: str) -> None:
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    shown = " ".join("".join(character if character.isprintable() else " " for character in text).split())

    inline = markdown.parse(f"before {plain(text)} after")[1].children or []
    assert [token.type for token in inline] in (["text"], ["text"] * len(inline))
    assert "".join(token.content for token in inline) == f"before {shown} after".replace("  ", " ") or not shown

    rows = [token for token in markdown.parse(table(("a", "b"), [(code(text), plain(text))])) if token.type == "inline"]
    assert len(rows) == 4
    spans = [child for child in rows[2].children or [] if child.type == "code_inline"]
    assert [span.content.strip() for span in spans] == ([shown.strip()] if shown else [""])[: len(spans)]

    blocks = markdown.parse(code_block(text))
    assert [token.type for token in blocks] == ["fence"]


@settings(max_examples=15)
@given(texts)
def test_a_hostile_title_stays_a_title(text: str) -> None:
    manifest = a_manifest(spec={"placeholder_token": text, "space": {"title": text}}, reasons=[text], gate="rejected")

    card = render_card(manifest, repo="local/x", files=())

    front, body = split_front_matter(card)
    assert front["tags"][0] == "conceptry"
    assert "title" not in front
    tokens = MarkdownIt("commonmark", {"html": True}).parse(body)
    assert not [token for token in tokens if token.type in ("html_block", "html_inline")]
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[1:] == ["Metrics", "How to use", "Lineage"]
    pythons = [token.content for token in tokens if token.type == "fence"]
    assert len(pythons) == 3
    for python in pythons:
        compile(python, "card", "exec")


def a_manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "name": "x", "fingerprint": "a" * 64, "inputs": "a" * 64, "images": {}, "spec": {}, "base_model": "sd-v1-4",
            "base_digest": "d" * 64, "recipe": 1, "commit": "c" * 40, "dvc_md5": "f" * 32, "gate": "passed",
            "metrics": {}, "created": "2026-11-22T10:00:00+00:00", **changes,
        }
    )  # fmt: skip


def test_a_bundle_is_whole_and_says_where_it_comes_from(tmp_path: Path) -> None:
    spec = make_spec(placeholder_token="<my-cat>", space={"title": "My *cat*"})
    bundle = make_bundle(tmp_path / "bundle", "my-cat", fingerprint="a" * 64, spec=spec)

    manifest = json.loads((bundle / "concept.json").read_text())
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {"concept.json"}
    for path, digest in manifest["files"].items():
        assert hashlib.sha256((bundle / path).read_bytes()).hexdigest() == digest
    assert {
        "README.md", "learned_embeds.safetensors", "text_encoder/saved_model.pb", "handler.py", "requirements.txt",
        "settings.json", "samples/grid.png", "samples/0.png", "trainer/sampling/sampler.py",
    } <= files  # fmt: skip
    assert manifest["version"] is None
    assert (manifest["commit"], manifest["dvc_md5"], manifest["prefect_run"]) == ("e" * 40, "f" * 32 + ".dir", "run-1")
    served = json.loads((bundle / "settings.json").read_text())
    assert (served["placeholder_tokens"], served["revision"], served["version"]) == (["<my-cat>"], None, None)
    card = (bundle / "README.md").read_text()
    assert "# My \\*cat\\*\n" in card
    for text in ("`<my-cat>`", "e" * 40, "f" * 32 + ".dir", "run-1", "load_textual_inversion", "0.0500", "50.0%"):
        assert text in card
    assert not re.search(r"\*\*v\d|revision=", card), "a version does not know its number"
    assert yaml.safe_load(card.split("---")[1])["pipeline_tag"] == "text-to-image"


IMPORTED = GateResult((GateFinding(GateReason.IMPORTED, "passed", "it was not judged here"),))


def refused(trained: Path, bundle: Path, match: str) -> None:
    """No bundle is made of this training, and the error says why."""
    lineage = Lineage("a" * 64, "a" * 64, "c" * 40, "f" * 32, ())
    with pytest.raises(TrainingError, match=match):
        assemble(
            trained, bundle, name="x", spec=make_spec(), base=BASE, lineage=lineage, gate=IMPORTED,
            repo="local/x",
        )  # fmt: skip
    assert not bundle.exists()


def test_half_a_training_makes_no_bundle(tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "trained")
    (trained / "learned_embeds.safetensors").unlink()
    refused(trained, tmp_path / "bundle", r"x: the trainer wrote no learned_embeds.safetensors")


def test_other_weights_than_the_published_make_no_bundle(tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "trained")
    metrics = json.loads((trained / "metrics.json").read_text())
    (trained / "metrics.json").write_text(json.dumps(metrics | {"weights": {"dtype": "float32", "verified": False}}))
    refused(trained, tmp_path / "bundle", r"x: it was trained with --unverified")


def test_a_card_tells_clip_scores_where_there_are_any() -> None:
    image = {"initializer": 60.0, "trained": 74.56, "on": "held-out images"}
    text = {"initializer": 25.04, "trained": 23.0, "on": "a photo of | <b>cat</b>"}
    scored = a_manifest(metrics={"clip": {"model": "openai/clip-vit-large-patch14", "image": image, "text": text}})
    card = render_card(scored, repo="local/x", files=())
    assert "| CLIP score with held\\-out images | 60.0 with the initializer, 74.6 with the token |" in card
    assert "a photo of \\| \\<b\\>cat\\<\\/b\\>" in card
    assert "| CLIP model | openai\\/clip\\-vit\\-large\\-patch14 |" in card
    versions = [version_of(one, number, "c" * 40) for number, one in enumerate((a_manifest(), scored), 1)]
    assert [version.clip for version in versions] == [None, 74.56]
    assert Version.from_index(versions[1].to_index()) == versions[1]
    main = render_card(scored, repo="local/x", files=(), versions=versions, version=versions[1])
    assert "| Branch | Gate | Held-out loss | CLIP score |" in main
    assert "CLIP" not in render_card(a_manifest(), repo="local/x", files=(), versions=versions[:1], version=versions[0])
