"""`conceptry new`: create a concept's folder in the current repository."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.prompt import Prompt
from rich.syntax import Syntax
from rich.text import Text

from cli import image_checks
from cli.options import Root, known_base_model, known_presets
from conceptry.bases import BaseEntry
from conceptry.concept import BASE_MODELS, ConceptSpec, check_name, load_spec, spec_path
from conceptry.errors import ConceptryError, SpecError
from conceptry.image_folder import is_junk, pair_captions
from conceptry.unique_tokens import check_unique_tokens
from local.current_setup import installation_if_any
from tasks.base_entries import read_entries
from tasks.dvc import add_images, add_to_pipeline
from tasks.extras import install_command
from tasks.git.checkout import BASE_MODEL, dvc_root, find_top, has_origin, registries_below, setting_of
from tasks.records.photos import looks_like_image
from tasks.tokens import initializer_problem

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic",
    ".heif", ".ppm", ".pgm", ".dng",
)  # fmt: skip
"""Endings of images; other files are images by their content."""

_UNCHECKED = (
    "whether {} can draw such images was not checked, which needs TensorFlow (`{}`); its training checks it first"
)


@dataclass(frozen=True)
class NewConcept:
    """Requested concept; `images` is None for imported vectors without images."""

    name: str
    images: Path | None
    placeholder_token: str
    initializer_token: str
    learnable_property: str = "object"
    base_model: str = "tiny"
    num_vectors: int = 1
    mask: bool = False


@dataclass(frozen=True)
class Added:
    """Concept that was added to the working tree; paths are relative to the repository's top."""

    name: str
    folder: Path
    images: int
    captions: int
    to_commit: tuple[str, ...]
    notes: tuple[str, ...] = ()
    has_origin: bool = True


@dataclass(frozen=True)
class Chosen:
    """Files of a folder by what they are, as paths in it; those of `left_out` are not copied."""

    folder: Path = Path()
    images: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    caption_lists: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def command(
    name: Annotated[
        str, typer.Argument(help="Name of the concept: lower-case letters, digits and single hyphens.", metavar="NAME")
    ],
    images: Annotated[
        Path, typer.Option("--images", help="Folder with the images (they are copied).", exists=True, file_okay=False)
    ],
    token: Annotated[str, typer.Option("--token", help='The token to learn, in angle brackets: "<my-cat>".')],
    init: Annotated[str, typer.Option("--init", help="What to start from: a known word, up to four, or a version.")],
    style: Annotated[bool, typer.Option("--style", help="The images share a style, not a thing.")] = False,
    base_model: Annotated[
        str | None,
        typer.Option(
            "--base-model",
            help="The base model: tiny or sd-v1-4. Without it that of `conceptry init`; else asked for on a terminal.",
            callback=known_base_model,
        ),
    ] = None,
    mask: Annotated[
        bool, typer.Option("--mask", help="Learn what the alpha channels show only: training.mask: alpha.")
    ] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Whether to read every image.")] = True,
    root: Root = None,
) -> None:
    """Add a concept to this repository: write its concept.yaml, copy the images, and add them to DVC.

    Every image is read, and what cannot be trained is refused: a damaged or blank image, or an initializer that the
    base model does not know. A base model that cannot draw such images is named. Nothing is committed or pushed; the
    next commands are printed.
    """
    base_model = base_model or setting_of(Path.cwd(), BASE_MODEL) or ask_base_model()
    new = NewConcept(name, images, token, init, "style" if style else "object", base_model, mask=mask)

    def check_images(spec: ConceptSpec, folder: Path) -> tuple[str, ...]:
        installation = installation_if_any(root)
        base_dir = installation.base_dir if installation else None
        if problem := initializer_problem(spec, base_dir):
            raise ConceptryError(
                f"initializer_token: {problem}", concept=name, next_step="pass another one with --init"
            )
        report, rejected = image_checks.check(name, spec, folder, base_dir)
        unchecked = (
            () if image_checks.is_drawing_checked(spec) else (_UNCHECKED.format(base_model, install_command("all")),)
        )
        warned = [rejected] if rejected else []
        return report.judged_by(spec.training.held_out), *warned, *report.warnings, *report.notes, *unchecked

    describe(add_concept(Path.cwd(), new, check_images if check else None))


def ask_base_model() -> str:
    """Ask for the base model on a terminal, with what each can do; elsewhere return the first, `tiny`."""
    if not sys.stdin.isatty():
        return BASE_MODELS[0]
    console = Console(highlight=False)
    known = known_presets()
    for name, preset in known.items():
        console.print(f"[bold]{name}[/] draws {preset.draws}; it needs {preset.needs}.")
    return Prompt.ask("Base model", console=console, choices=list(known), default=BASE_MODELS[0])


def add_concept(
    start: Path, new: NewConcept, check: Callable[[ConceptSpec, Path], tuple[str, ...]] | None = None
) -> Added:
    """Write concepts/NAME/ and add its images to DVC; a failure leaves the working tree unchanged.

    Args:
        start: Folder in the repository.
        new: Requested concept.
        check: Called with concept.yaml and the folder of copied images; returns what to say about them.

    Raises:
        SpecError: name, token or initializer are invalid, or another concept has the token.
        ConceptryError: there is no repository, no DVC in it or no image, the concept exists, or `check` refused it.
    """
    check_name(new.name)
    top = _top(start)
    folder = top / "concepts" / new.name
    if folder.exists():
        raise ConceptryError(
            "exists already",
            concept=new.name,
            next_step=f"add images to concepts/{new.name}/images and `dvc add` it",
        )
    text = concept_yaml(new, schema=(top / "concepts" / "concept.schema.json").exists())
    bases = read_entries(top)
    _check_spec(top, new.name, text, bases)
    chosen = _choose(new.images) if new.images else Chosen()
    try:
        (folder / "images").mkdir(parents=True)
        (folder / "concept.yaml").write_text(text, encoding="utf-8")
        for file in (*chosen.images, *chosen.captions, *chosen.caption_lists):
            (folder / "images" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(chosen.folder / file, folder / "images" / file)
        notes = check(load_spec(text, spec_path(new.name), bases), folder / "images") if check else ()
        add_images(top, folder / "images")
        pipeline = add_to_pipeline(top, new.name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    to_commit = _to_commit(top, folder, pipeline)
    if chosen.caption_lists:
        notes = (*notes, f"captions for images without their own come from {', '.join(chosen.caption_lists)}")
    if chosen.left_out:
        notes = (*notes, f"left out, because they are neither images nor captions of one: {', '.join(chosen.left_out)}")
    return Added(
        new.name, folder.relative_to(top), len(chosen.images), len(chosen.captions), to_commit, notes, has_origin(top)
    )


def concept_yaml(new: NewConcept, *, schema: bool) -> str:
    """Return a concept.yaml with the requested values, and all other keys as comments with their defaults.

    Args:
        new: Requested concept.
        schema: Whether concepts/concept.schema.json exists, which editors use to complete and check the file.
    """
    given = {
        "placeholder_token": new.placeholder_token,
        "initializer_token": new.initializer_token,
        "learnable_property": new.learnable_property,
        "base_model": new.base_model,
        **({"num_vectors": new.num_vectors} if new.num_vectors != 1 else {}),
    }
    lines = ["# yaml-language-server: $schema=../concept.schema.json"] if schema else []
    for key, value in given.items():
        lines += [f"# {ConceptSpec.model_fields[key].description}", f"{key}: {_yaml(value)}"]
    lines += ["", "# The other keys are optional. Each line shows the default; remove its # to change it.", ""]
    lines += _commented(ConceptSpec, skip=given.keys(), indent="")
    text = "\n".join(lines) + "\n"
    if new.mask:
        text = text.replace("# training:", "training:").replace("#   mask: null", "  mask: alpha")
    return text


def describe(added: Added) -> None:
    """Print what was written and the next commands."""
    console = Console(highlight=False)
    captions = f" and {added.captions} captions" if added.captions else ""
    console.print(f"[green]✓[/] [bold]{added.folder}[/] with {added.images} pictures{captions}.")
    for note in added.notes:
        console.print(Text(f"  {note}"), soft_wrap=True)
    console.print("\nReview concept.yaml, then:\n")
    print_commands(console, commands(added))


def print_commands(console: Console, script: str) -> None:
    """Print commands to be pasted: highlighted, and no line of them wrapped."""
    text = Syntax("", "bash", background_color="default").highlight(script)
    text.rstrip()
    console.print(text, soft_wrap=True)


def commands(added: Added, why: str = "the watcher trains it") -> str:
    """Return the next commands; `why` is the comment on the last one: without an origin the clone itself is read."""
    last = f"git push      # {why}"
    return "\n".join(
        [
            f"git add {' '.join(added.to_commit)}",
            f'git commit -m "Add {added.name}"',
            "dvc push      # the images; the watcher waits for them",
            *([last] if added.has_origin else []),
        ]
    )


def _to_commit(top: Path, folder: Path, pipeline: Path | None) -> tuple[str, ...]:
    paths = [folder / "concept.yaml", folder / "images.dvc", folder / ".gitignore", *([pipeline] if pipeline else [])]
    return tuple(path.relative_to(top).as_posix() for path in paths)


def _top(start: Path) -> Path:
    top = find_top(start)
    if dvc_root(top) is None:
        next_step = "run `conceptry init` there first"
        if below := registries_below(top):
            next_step = f"change to {below[0]}, which has concepts"
        raise ConceptryError(f"{top} has no DVC", next_step=next_step)
    return top


def _choose(folder: Path) -> Chosen:
    """Return the images in `folder` and its subfolders, their captions, and what is left out.

    Raises:
        ConceptryError: there is no image.
    """
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = [relpath for path in paths if not is_junk(relpath := path.relative_to(folder).as_posix())]
    pairs = pair_captions(files)
    images = tuple(file for file in pairs.by_image if _is_image(folder / file))
    if not images:
        raise ConceptryError(f"no image in {folder}", next_step="pass a folder with images, for example JPEG or PNG")
    captions = tuple(caption for image in images if (caption := pairs.by_image[image]))
    left_out = {*files} - {*images, *captions, *pairs.lists}
    return Chosen(folder, images, captions, pairs.lists, tuple(sorted(left_out)))


def _is_image(path: Path) -> bool:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    with path.open("rb") as stream:
        return looks_like_image(stream.read(16))


def _check_spec(top: Path, name: str, text: str, bases: Mapping[str, BaseEntry]) -> None:
    specs = {name: load_spec(text, spec_path(name), bases)}
    for path in sorted(top.glob("concepts/*/concept.yaml")):
        try:
            specs[path.parent.name] = load_spec(path.read_text(encoding="utf-8"), spec_path(path.parent.name), bases)
        except SpecError:
            continue  # another concept's mistakes do not matter here
    if error := check_unique_tokens(specs).get(name):
        raise error


def _commented(model: type[BaseModel], skip: Any, indent: str) -> Iterator[str]:
    for key, field in model.model_fields.items():
        if key in skip or key == "base":
            continue
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield f"# {indent}{key}:  # {field.description}"
            yield from _commented(type(default), (), indent + "  ")
        else:
            yield f"# {indent}{key}: {_yaml(default)}  # {field.description}"


def _yaml(value: Any) -> str:
    """Return a scalar in YAML: as in JSON, and words without quotes."""
    return value if isinstance(value, str) and value.isalpha() else json.dumps(value, ensure_ascii=False)
