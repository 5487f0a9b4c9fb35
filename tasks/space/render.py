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
from typing import Any

from conceptry.concept import ConceptSpec
from conceptry.markdown import code, dump_front_matter, plain
from conceptry.serving import SERVING_MODULES, hardware
from trainer.presets import PRESETS

PYTHON = "3.11"
PACKAGE = "space_template"
ROOT = Path(__file__).resolve().parents[2]
"""Where the packages lie side by side, in a checkout and in an installation alike."""


def templates_digest(root: Path | None = None) -> str:
    """Digest of all that Spaces are rendered with, this renderer too: when it changes, each is rendered again.

    `root` is another checkout than the one that this runs from.
    """
    digest = hashlib.sha256()
    for path, file in sorted(_sources(root or ROOT)):
        digest.update(f"{path}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def render_space(folder: Path, spec: ConceptSpec, settings: Mapping[str, Any]) -> Path:
    """Render the Space into a folder, which is made anew.

    Args:
        folder: Where to; what lies there is removed.
        spec: The concept.yaml, for the Space's hardware.
        settings: `conceptry.serving.serving_settings` of the released version.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    template = ROOT / PACKAGE
    for source in sorted(template.glob("*.py")):
        _copy(source, folder / _place(source.name))
    shipped = ["trainer/" + file.path for file in PRESETS[settings["base_model"]].files if file.url is None]
    for path in (*SERVING_MODULES, *shipped):
        _copy(ROOT / path, folder / path)
    requirements = (template / "requirements.txt").read_text(encoding="utf-8")
    if not hardware(spec).startswith("cpu-"):
        # TensorFlow finds CUDA only where pip has put it.
        requirements = requirements.replace("tensorflow==", "tensorflow[and-cuda]==")
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    for name, content in spec.space.override.items():
        (folder / _place(name)).write_text(content, encoding="utf-8")
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


def _sources(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file that a rendered Space depends on, besides its settings, with a path that no machine changes."""
    yield "tasks/space.py", root / "tasks" / "space" / "render.py"
    for file in (root / PACKAGE).iterdir():
        if file.suffix == ".py" or file.name == "requirements.txt":
            yield f"{PACKAGE}/{file.name}", file
    for path in SERVING_MODULES:
        yield path, root / path


def _place(name: str) -> str:
    """Where a file of the template lies in a Space.

    app.py starts from the root; what it imports stays the package that it is in the repo.
    """
    return name if name in ("app.py", "requirements.txt") else f"{PACKAGE}/{name}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
