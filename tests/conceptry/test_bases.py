"""bases.yaml names base models besides the presets, and a concept may be trained on them."""

import json
from pathlib import Path
from typing import Any

import pytest

from conceptry.bases import bases_schema, load_bases
from conceptry.concept import dump_spec, load_spec
from conceptry.desired import ConceptSource, ImageRef, parse_bases, parse_sources
from conceptry.errors import SpecError
from conceptry.fingerprint import trainer_config, training_fingerprint
from tasks.base_models import base_of

IMAGES = [ImageRef("a.jpg", "1" * 32)]
ENTRY = f"""
mine:
  kind: sd1
  prediction: epsilon
  checkpoint: mine.safetensors
  content: {"c" * 64}
  files: {{mine.safetensors: {"f" * 64}}}
"""
CONCEPT = 'placeholder_token: "<my-cat>"\ninitializer_token: cat\nbase_model: mine\n'
DVC = "outs:\n- md5: 11111111111111111111111111111111.dir\n  hash: md5\n  path: images\n"


def changed(**values: str) -> str:
    text = ENTRY
    for key, value in values.items():
        old = next(line for line in text.splitlines() if line.strip().startswith(f"{key}:"))
        text = text.replace(old, f"  {key}: {value}")
    return text


def test_a_concept_names_an_entry() -> None:
    bases = load_bases(ENTRY)
    spec = load_spec(CONCEPT, "c", bases)
    assert spec.base == bases["mine"]
    assert trainer_config(spec)["base"]["content"] == "c" * 64
    assert dump_spec(spec)["base"]["checkpoint"] == "mine.safetensors"
    plain = load_spec(CONCEPT.replace("mine", "tiny"), "c", bases)
    assert "base" not in trainer_config(plain)
    assert "base" not in dump_spec(plain)


def test_content_prediction_and_resolution_count_and_no_name() -> None:
    def fingerprint(text: str, name: str = "mine") -> str:
        spec = load_spec(CONCEPT.replace("mine", name), "c", load_bases(text))
        return training_fingerprint(spec, IMAGES, base_of(spec))

    before = fingerprint(ENTRY)
    assert fingerprint(ENTRY.replace("mine:", "yours:"), "yours") == before
    assert fingerprint(ENTRY.replace("mine.safetensors", "other.safetensors")) == before
    assert fingerprint(changed(content="d" * 64)) != before
    assert fingerprint(changed(prediction="v")) != before
    assert fingerprint(ENTRY + "  resolution: 768\n") != before


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (changed(kind="sdxl"), 3, "mine.kind"),
        (changed(content="x"), 6, "mine.content"),
        (ENTRY + "  colour: red\n", 8, "colour"),
        (ENTRY.replace("mine:", "tiny:"), None, "tiny is a preset"),
        (ENTRY.replace("mine:", "My Model:"), None, "cannot name a base model"),
        (ENTRY.replace("mine.safetensors", "../mine.safetensors"), None, "is not a path below the folder of weights"),
        ("- mine\n", 1, "must hold `key: value` lines"),
    ],
)
def test_each_mistake_is_said_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_bases(text)
    assert says in str(caught.value)
    assert line is None or f"bases.yaml:{line}:" in str(caught.value)


@pytest.mark.parametrize(
    ("bases", "says"),
    [
        (None, "concept.yaml:3: base_model: 'mine' is not one of: tiny, sd-v1-4"),
        (ENTRY.replace("mine:", "mime:"), "did you mean mime?"),
        (changed(kind="sdxl"), "bases.yaml:3: mine.kind"),
    ],
)
def test_a_concept_without_its_entry_is_held_and_the_others_go_on(bases: str | None, says: str) -> None:
    other = CONCEPT.replace("my-cat", "my-dog").replace("mine", "tiny")
    sources = [ConceptSource("my-cat", CONCEPT, DVC), ConceptSource("my-dog", other, DVC)]
    found: dict[str, Any] = dict(parse_sources(sources, parse_bases(bases)))
    assert says in str(found["my-cat"].error)
    assert found["my-dog"].error is None


def test_an_entry_cannot_be_written_into_a_concept() -> None:
    text = CONCEPT.replace("mine", "tiny") + f"base: {{kind: sd1, prediction: v, checkpoint: x, content: {'c' * 64}, "
    with pytest.raises(SpecError, match="is no key of concept"):
        load_spec(text + f"files: {{x: {'f' * 64}}}}}\n", "c")


def test_the_committed_schema_is_up_to_date(repo_root: Path) -> None:
    committed = (repo_root / "docs" / "bases.schema.json").read_text(encoding="utf-8")
    assert json.loads(committed) == bases_schema(), "run `make schema`"
