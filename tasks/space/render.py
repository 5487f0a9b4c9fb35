"""Rendering a concept's Space: the template as it lies in the repo, its settings, the trainer modules it draws with.

No value is pasted into code: what a concept says goes into settings.json and into the README's front matter. Pushing
the folder is `tasks.hub.push_space`.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.markdown import code, dump_front_matter, plain
from conceptry.space_settings import SPACE_MODULES, hardware, serving_settings
from trainer.base_weights.presets import PRESETS
from trainer.metrics import TrainingMetrics

PYTHON = "3.11"
PACKAGE = "space_template"
ROOT = Path(__file__).resolve().parents[2]
"""Where the packages lie side by side, in a checkout and in an installation alike."""


TEMPLATES_REVISION = "504d23c86d573002f660bdaf6aa9b3ef6c174e4b119ecbc5114af7e11b9da281"
"""Identity of the templates of Space and handler: part of every serving fingerprint.

Change it, to any other string, when what users see or call changes: every Space is then rendered and pushed again.
Refactoring does not change it. The first value is the digest of the template files that release 0.1 computed here, so
the Spaces that it pushed are in sync with this one. `make templates` records the content that a revision stands for.
"""
TEMPLATES_RECORD = ROOT / "tasks" / "templates.json"


def templates_record() -> dict[str, str]:
    """Describe the templates as they are: their revision, and one sha256 over what is rendered from them.

    TEMPLATES_RECORD holds it as of the last decision. A test compares the two, so that whoever changes a template
    decides: raise TEMPLATES_REVISION, or say with `make templates` alone that users notice nothing.
    """
    digest = hashlib.sha256()
    with TemporaryDirectory(prefix="conceptry-templates-") as scratch:
        for name, file in sorted(_rendered_examples(Path(scratch))):
            digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return {"revision": TEMPLATES_REVISION, "content": digest.hexdigest()}


def render_space(folder: Path, spec: ConceptSpec, settings: Mapping[str, Any]) -> Path:
    """Render the Space into a folder, which is made anew.

    Args:
        folder: Where to; what lies there is removed.
        spec: The concept.yaml, for the Space's hardware.
        settings: `conceptry.space_settings.serving_settings` of the released version.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    template = ROOT / PACKAGE
    for source in sorted(template.glob("*.py")):
        _copy(source, folder / place_in_space(source.name))
    shipped = ["trainer/" + file.path for file in PRESETS[settings["base_model"]].files if file.url is None]
    for path in (*SPACE_MODULES, *shipped):
        _copy(ROOT / path, folder / path)
    requirements = (template / "requirements.txt").read_text(encoding="utf-8")
    if not hardware(spec).startswith("cpu-"):
        # TensorFlow finds CUDA only where pip has put it.
        requirements = requirements.replace("tensorflow==", "tensorflow[and-cuda]==")
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    for name, content in spec.space.override.items():
        (folder / place_in_space(name)).write_text(content, encoding="utf-8")
    text = json.dumps(dict(settings), indent=2, ensure_ascii=False) + "\n"
    (folder / "settings.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(_readme(spec, settings, requirements), encoding="utf-8")
    return folder


def _readme(spec: ConceptSpec, settings: Mapping[str, Any], requirements: str) -> str:
    pinned = re.search(r"^gradio==(\S+)$", requirements, re.MULTILINE)
    front = {
        "title": settings["title"],
        "emoji": settings["emoji"],
        "colorFrom": "purple",
        "colorTo": "yellow",
        "sdk": "gradio",
        "sdk_version": pinned[1] if pinned else None,
        "python_version": PYTHON,
        "app_file": "app.py",
        "models": [settings["model_repo"]],
        "tags": ["conceptry"],
        "suggested_hardware": hardware(spec),
    }
    text = (
        f"# {plain(settings['title'])}\n\n"
        f"Draws {code(settings['placeholder_token'])} with {code(str(settings['version']))} of "
        f"{code(settings['model_repo'])}. Rendered by Conceptry: changes made here are written over; change "
        f"{code('concepts/' + settings['name'] + '/concept.yaml')} instead.\n"
    )
    return dump_front_matter({key: value for key, value in front.items() if value is not None}) + "\n" + text


def _rendered_examples(scratch: Path) -> Iterator[tuple[str, Path]]:
    """Render a Space of each base model; yield every file of them and of the handler's template, each with a name."""
    for base_model, preset in PRESETS.items():
        words = {"placeholder_token": "<example>", "initializer_token": "circle", "base_model": base_model}
        spec = ConceptSpec.model_validate(words)
        base, metrics = BaseModel(base_model, "0" * 64, 1, preset.resolution), TrainingMetrics()
        settings = serving_settings(
            "example",
            spec,
            base,
            version_name="v1",
            metrics=metrics,
            model_repo="owner/example",
            revision="0" * 40,
        )
        folder = render_space(scratch / base_model, spec, settings)
        for file in (path for path in folder.rglob("*") if path.is_file()):
            yield f"{base_model}/{file.relative_to(folder).as_posix()}", file
    for name in ("handler.py", "requirements.txt"):
        yield f"handler/{name}", ROOT / "handler_template" / name


def place_in_space(name: str) -> str:
    """Return where a file of the template lies in a Space.

    app.py starts from the root; what it imports stays the package that it is in the repo.
    """
    return name if name in ("app.py", "requirements.txt") else f"{PACKAGE}/{name}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    # `make templates`
    TEMPLATES_RECORD.write_text(json.dumps(templates_record(), indent=2) + "\n", encoding="utf-8")
