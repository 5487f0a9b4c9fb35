"""Rendering a Space: values go into settings.json and front matter, and code stays as it is."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import SecretStr, ValidationError
from ruamel.yaml import YAML

from conceptry.concept import BaseModel, ConceptSpec, SpaceSpec
from conceptry.errors import HubError
from conceptry.fingerprint import serving_fingerprint
from conceptry.installation import HubTarget
from conceptry.markdown import split_front_matter
from conceptry.space_settings import SPACE_MODULES, serving_settings
from space_template.settings import read_settings
from tasks.hub import HubSession, RenderedSpace, list_live, pause_space, push_space
from tasks.hub.space_repo import equip_space
from tasks.space import TEMPLATES_RECORD, render_space, templates_record
from trainer.metrics import TrainingMetrics

HOSTILE = [
    "</script>{braces} ${d} ' \" \\ `t` *b* <img onload=a()>",
    "{{ settings }} {% raw %} %(x)s f\"{x}\" '''",
    "title: other # not a comment --- |",
    "- 0o17",
    "null",
    "🐱\u202e",
]
# What no concept.yaml may hold, but a version's metrics or a settings.json made by hand might.
texts = st.sampled_from([*HOSTILE, "", "two\r\n---\ntitle: x", "\x00 \x85 \u2028 \ufeff"]) | st.text(max_size=40)
titles = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" "), min_size=1, max_size=60),
).filter(lambda title: bool(title.strip()) and title.isprintable())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def render(folder: Path, spec: ConceptSpec, name: str = "cat") -> Path:
    base = BaseModel("sd-v1-4", "d" * 64, 1, 512)
    made = serving_settings(
        name, spec, base, version_name="v1", metrics=TrainingMetrics(), model_repo=f"local/{name}", revision="f" * 40
    )
    return render_space(folder, spec, made)


def concept(title: str) -> ConceptSpec:
    return ConceptSpec.model_validate(
        {"placeholder_token": "<cat>", "initializer_token": "cat", "base_model": "sd-v1-4", "space": {"title": title}}
    )


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles)
def test_whatever_the_title_only_settings_and_readme_know_of_it(tmp_path: Path, title: str) -> None:
    plain = contents(render(tmp_path / "plain", concept("Cat").model_copy()))
    ours = contents(render(tmp_path / "ours", concept(title)))

    differing = {path for path in ours if ours[path] != plain.get(path)}
    assert ours.keys() == plain.keys()
    assert differing <= {"README.md", "settings.json"}
    assert json.loads(ours["settings.json"])["title"] == title
    front, body = split_front_matter(ours["README.md"].decode())
    assert front["title"] == title
    assert front["models"] == ["local/cat"]
    assert set(front) == set(split_front_matter(plain["README.md"].decode())[0]), "a title adds no key"
    assert body.lstrip().startswith("# ")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(dict.fromkeys(("name", "title", "emoji", "placeholder_token", "model_repo"), texts)),
    st.lists(texts, max_size=2),
    st.dictionaries(texts, texts | st.floats(allow_nan=False), max_size=2),
)
def test_whatever_the_settings_hold_is_written_as_data(
    tmp_path: Path, repo_root: Path, said: dict[str, Any], examples: list[str], metrics: dict[str, Any]
) -> None:
    spec, base = concept("Cat"), BaseModel("sd-v1-4", "d" * 64, 1, 512)
    measured = TrainingMetrics.model_validate(metrics)
    made = serving_settings(
        "cat", spec, base, version_name="v1", metrics=measured, model_repo="local/cat", revision="f" * 40
    )
    made = {**made, **said, "examples": examples}
    folder = render_space(tmp_path / "space", spec, made)

    assert json.loads((folder / "settings.json").read_text(encoding="utf-8")) == made
    served = read_settings(folder / "settings.json")
    assert {key: getattr(served, key) for key in said} == said
    assert (list(served.examples), served.metrics) == (examples, measured)

    front, _, body = (folder / "README.md").read_bytes().decode().removeprefix("---\n").partition("---\n")
    # Python reads YAML 1.1, and the Hub YAML 1.2.
    for read in (yaml.safe_load(front), YAML(typ="safe", pure=True).load(front)):
        assert (read["title"], read["emoji"], read["models"]) == (said["title"], said["emoji"], [said["model_repo"]])
        assert len(read) == 11
    blocks = MarkdownIt("commonmark", {"html": True}).parse(body)
    assert [block.type for block in blocks if block.nesting >= 0 and block.type != "inline"] == [
        "heading_open",
        "paragraph_open",
    ]
    inside = {child.type for block in blocks for child in block.children or ()}
    assert inside <= {"text", "text_special", "code_inline", "softbreak"}

    for path in folder.rglob("*.py"):
        place = path.relative_to(folder)
        source = repo_root / ("space_template/app.py" if place == Path("app.py") else place)
        assert path.read_bytes() == source.read_bytes(), "code is copied, never written into"


def test_a_space_is_made_anew_and_the_same_each_time(tmp_path: Path) -> None:
    first = contents(render(tmp_path / "space", concept("Cat")))
    (tmp_path / "space" / "left.over").write_text("x")
    assert contents(render(tmp_path / "space", concept("Cat"))) == first
    assert set(SPACE_MODULES) < set(first)
    for path, content in first.items():
        if path.endswith(".py"):
            ast.parse(content)


def test_a_concept_may_replace_files_of_the_template(tmp_path: Path) -> None:
    spec = concept("Cat")
    own = {
        "theme.py": "# mine\n",
        "app.py": "# too\n",
        "requirements.txt": "gradio==6.31.0\n",
        "extra.py": "x = 1\n",
    }
    changed = spec.model_copy(update={"space": SpaceSpec.model_validate({"title": "Cat", "override": own})})
    plain, ours = contents(render(tmp_path / "plain", spec)), contents(render(tmp_path / "ours", changed))

    assert ours["space_template/theme.py"] == b"# mine\n"
    assert ours["app.py"] == b"# too\n"
    assert ours["requirements.txt"] == b"gradio==6.31.0\n"
    assert {path for path in ours if ours[path] != plain.get(path)} == {
        "space_template/theme.py", "app.py", "requirements.txt", "space_template/extra.py"
    }  # fmt: skip
    assert serving_fingerprint(spec, None, "t") != serving_fingerprint(changed, None, "t"), "it is rendered again"
    for name in ("../app.py", "settings.json", "README.md", "trainer/sampling/sampler.py", ""):
        with pytest.raises(ValidationError, match="is not a file of a template"):
            SpaceSpec.model_validate({"override": {name: "x"}})


def test_a_change_of_the_templates_is_a_decision() -> None:
    assert templates_record() == json.loads(TEMPLATES_RECORD.read_text(encoding="utf-8")), (
        "A template of Space or handler, or a trainer module that they carry, has changed. If users see or call "
        "something else now, raise TEMPLATES_REVISION (tasks/space/render.py): every Space is then pushed again. Then "
        "run `make templates`, which records the templates as they are."
    )


def test_the_record_follows_what_is_rendered(tmp_path: Path, repo_root: Path) -> None:
    rooms = ("conceptry", "handler_template", "space_template", "tasks", "trainer")
    for room in rooms:
        shutil.copytree(repo_root / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))

    def recorded() -> str:
        code = "import tasks.space; print(tasks.space.templates_record()['content'])"
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    before = recorded()
    assert before == json.loads(TEMPLATES_RECORD.read_text(encoding="utf-8"))["content"], "the same in every checkout"
    (tmp_path / "trainer" / "train.py").write_text("# no Space carries this")
    assert recorded() == before
    for changed in ("space_template/app.py", "handler_template/handler.py", "space_template/requirements.txt"):
        with (tmp_path / changed).open("a") as file:
            file.write("\n# changed")
        assert recorded() != before, changed
        before = recorded()


def gpu_concept(**space: Any) -> ConceptSpec:
    return ConceptSpec.model_validate(
        {"placeholder_token": "<x>", "initializer_token": "cat", "base_model": "sd-v1-4", "space": space}
    )


def equip(hub: HubTarget, name: str, spec: ConceptSpec, token: SecretStr | None = None) -> list[str]:
    session = HubSession(hub)
    info = session.space(name)
    return equip_space(session, name, info, spec, token=token) if info else []


def test_a_space_gets_the_hardware_of_its_concept_and_a_private_one_its_token(hub: HubTarget) -> None:
    api, repo = HubSession(hub).api, "local/painting"
    api.create_repo(repo, repo_type="space", space_sdk="gradio")
    api.create_repo(repo)
    secret = gpu_concept(private=True)
    changed = equip(hub, "painting", secret, SecretStr("hf_reads"))
    assert changed == ["private", "hardware t4-small", "secret HF_TOKEN"]
    runtime = api.get_space_runtime(repo)
    assert (runtime.requested_hardware, runtime.sleep_time) == ("t4-small", 900)
    assert list(api.get_space_secrets(repo)) == ["HF_TOKEN"]
    assert api.model_info(repo).private
    assert api.space_info(repo).private
    assert equip(hub, "painting", secret) == ["no secret HF_TOKEN"], "a token of an earlier push is taken away"
    assert equip(hub, "painting", secret) == [], "what is so already is left alone"
    api.add_space_secret(repo, "HF_TOKEN", "hf_of_a_person")
    assert equip(hub, "painting", secret) == []
    assert list(api.get_space_secrets(repo)) == ["HF_TOKEN"], "a person's own secret stays"
    api.delete_space_secret(repo, "HF_TOKEN")

    longer = gpu_concept(sleep_minutes=30)
    assert equip(hub, "painting", longer) == ["public", "sleeps after 30 minutes"]
    assert equip(hub, "painting", longer) == []
    assert not api.model_info(repo).private
    assert not api.space_info(repo).private
    assert not api.get_space_secrets(repo)
    assert not api.get_space_variables(repo)
    free = concept("Cat").model_copy(update={"base_model": "tiny"})
    assert equip(hub, "painting", free) == ["hardware cpu-basic"]

    api.update_repo_settings(repo, private=True)
    assert equip(hub, "painting", gpu_concept()) == ["hardware t4-small"]
    assert api.model_info(repo).private, "what was hidden by hand is not shown to the world"


def test_nothing_released_pauses_the_space_and_a_release_wakes_it(hub: HubTarget, tmp_path: Path) -> None:
    api, repo, spec = HubSession(hub).api, "local/waking", gpu_concept(sleep_minutes=20)

    def serve(version: str) -> None:
        base = BaseModel("sd-v1-4", "d" * 64, 1, 512)
        made = serving_settings(
            "waking",
            spec,
            base,
            version_name=version,
            metrics=TrainingMetrics(),
            model_repo=repo,
            revision=version[1] * 40,
        )
        folder = render_space(tmp_path / version, spec, made)
        space = RenderedSpace(folder, version, version[1] * 40, "title=abc")
        push_space(HubSession(hub), "waking", space, spec, token=None)

    def served() -> tuple[str, str]:
        path = api.hf_hub_download(repo, "settings.json", repo_type="space", local_dir=tmp_path / "look")
        settings = read_settings(Path(path))
        return str(settings.version), str(settings.revision)

    serve("v2")
    assert api.get_space_runtime(repo).stage != "PAUSED"
    assert served() == ("v2", "2" * 40)
    pause_space(HubSession(hub), "waking")
    assert api.get_space_runtime(repo).stage == "PAUSED"
    serve("v1")
    runtime = api.get_space_runtime(repo)
    assert runtime.stage != "PAUSED"
    assert (runtime.requested_hardware, runtime.sleep_time) == ("t4-small", 1200)
    assert served() == ("v1", "1" * 40)


def test_a_space_that_cannot_be_equipped_serves_and_is_repaired_later(hub: HubTarget, tmp_path: Path) -> None:
    spec = concept("Cat")
    spec = spec.model_copy(update={"space": spec.space.model_copy(update={"hardware": "no-such-hardware"})})
    space = RenderedSpace(render(tmp_path / "space", concept("Cat"), "poor"), "v1", "f" * 40, "title=abc")
    with pytest.raises(HubError, match="giving its Space hardware"):
        push_space(HubSession(hub), "poor", space, spec, token=None)
    live = list_live(HubSession(hub)).concepts["poor"].space
    assert live is not None
    assert (live.release, live.serving, live.paused) == ("v1", None, False)
