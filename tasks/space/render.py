"""Rendering of a concept's Space: the template, its settings, and the trainer modules that it imports.

No value is inserted into code: values of a concept are written to settings.json and to the README's front matter.
`tasks.hub.push_space` pushes the folder.
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
from trainer.base_weights.presets import PRESETS, of, shipped_paths
from trainer.metrics import TrainingMetrics

PYTHON = "3.11"
PACKAGE = "space_template"
ROOT = Path(__file__).resolve().parents[2]
"""Parent folder of the packages, in a checkout and in an installed package alike."""


TEMPLATES_REVISION = "2"
"""Identity of the templates of Space and handler: part of every serving fingerprint.

Change it, to any other string, if users see or call something else: every Space is then rendered and pushed again. A
refactoring does not change it. `make templates` records the content of a revision.
"""
TEMPLATES_RECORD = ROOT / "tasks" / "templates.json"


def templates_record() -> dict[str, str]:
    """Return the templates' revision and one sha256 over all files that are rendered from them.

    TEMPLATES_RECORD holds the committed values, and a test compares them. After a change of a template the developer
    either raises TEMPLATES_REVISION or, if users notice no change, only runs `make templates`.
    """
    digest = hashlib.sha256()
    with TemporaryDirectory(prefix="conceptry-templates-") as scratch:
        for name, file in sorted(_rendered_examples(Path(scratch))):
            digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return {"revision": TEMPLATES_REVISION, "content": digest.hexdigest()}


def render_space(folder: Path, spec: ConceptSpec, settings: Mapping[str, Any]) -> Path:
    """Render the Space to a folder, which is created anew; return the folder.

    Args:
        folder: Folder to create; an existing one is deleted.
        spec: Spec of the concept, for the Space's hardware.
        settings: Result of `conceptry.space_settings.serving_settings` for the released version.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    template = ROOT / PACKAGE
    for source in sorted(template.glob("*.py")):
        _copy(source, folder / place_in_space(source.name))
    shipped = shipped_paths(of(settings["base_model"], settings.get("base")))
    for path in (*SPACE_MODULES, *shipped):
        _copy(ROOT / path, folder / path)
    requirements = (template / "requirements.txt").read_text(encoding="utf-8")
    if not hardware(spec).startswith("cpu-"):
        # TensorFlow finds CUDA only in pip's packages.
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
    """Render a Space of each base model; yield their files and those of the handler's template, each with a name."""
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
    """Return the path in a Space of a file of the template.

    app.py is at the root; the modules that it imports keep their package.
    """
    return name if name in ("app.py", "requirements.txt") else f"{PACKAGE}/{name}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
