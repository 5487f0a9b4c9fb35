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

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from pydantic import SecretStr

from conceptry.concept import ConceptSpec
from conceptry.markdown import code, dump_front_matter, plain
from conceptry.serving import SERVING_MODULES, hardware
from trainer.presets import PRESETS

PYTHON = "3.11"
PACKAGE = "space_template"
TOKEN_SECRET = "HF_TOKEN"
KINDS = ("model", "space")
ROOT = Path(__file__).resolve().parent.parent
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


def equip_space(api: HfApi, repo: str, spec: ConceptSpec, token: SecretStr | None) -> list[str]:
    """Give a Space the visibility, hardware and sleep time of concept.yaml, and a private one the token for its model.

    Args:
        api: A client that may write to the Space and to the model repo of the same name.
        repo: Id of both, `owner/name`.
        spec: The concept.yaml.
        token: What a private Space reads its model with; it is kept as the Space's secret HF_TOKEN.

    Returns:
        What was changed, in words.

    Raises:
        HfHubHTTPError: the Hub refused, for instance because the account cannot pay for the hardware.
    """
    changed = _hide(api, repo) if spec.space.private else []
    try:
        runtime, secrets = api.get_space_runtime(repo), api.get_space_secrets(repo)
    except HfHubHTTPError as error:
        if error.response.status_code in (404, 501):  # a Hub that runs no Spaces
            return changed
        raise
    # What somebody has made private by hand has no secret of ours, and is not shown to the world.
    if not spec.space.private and TOKEN_SECRET in secrets:
        changed += _show(api, repo)
    wanted, sleep = hardware(spec), spec.space.sleep_minutes * 60
    # The free hardware has a sleep time of its own, which nobody can set.
    rented = wanted != "cpu-basic"
    if (runtime.requested_hardware or "cpu-basic") != wanted:
        api.request_space_hardware(repo, wanted, sleep_time=sleep if rented else None)  # type: ignore[arg-type]
        changed.append(f"hardware {wanted}")
    elif rented and runtime.sleep_time != sleep:
        api.set_space_sleep_time(repo, sleep)
        changed.append(f"sleeps after {spec.space.sleep_minutes} minutes")
    if spec.space.private and token is not None:
        api.add_space_secret(repo, TOKEN_SECRET, token.get_secret_value(), description="Reads the model. By Conceptry.")
        changed.append(f"secret {TOKEN_SECRET}")
    return changed


def _hide(api: HfApi, repo: str) -> list[str]:
    """Let nobody but their owner see model repo and Space."""
    changed = []
    for kind in KINDS:
        if api.repo_exists(repo, repo_type=kind) and not api.repo_info(repo, repo_type=kind).private:
            api.update_repo_settings(repo, private=True, repo_type=kind)
            changed = ["private"]
    return changed


def _show(api: HfApi, repo: str) -> list[str]:
    """Let everybody see what was private, and take the secret away that is needed no more."""
    for kind in KINDS:
        if api.repo_exists(repo, repo_type=kind):
            api.update_repo_settings(repo, private=False, repo_type=kind)
    api.delete_space_secret(repo, TOKEN_SECRET)
    return ["public"]


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
    yield "tasks/space.py", root / "tasks" / "space.py"
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
