"""`conceptry import`: vectors that were learned elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax

from local.console import out
from cli.new import Added, Wanted, add_concept, commands
from conceptry.errors import ConceptryError
from local.setup_folder import load_settings


@dataclass(frozen=True)
class Source:
    """What was asked for; None where the source itself, or a default, says it."""

    path: Path
    name: str
    token: str | None
    init: str | None
    base_model: str | None
    images: Path | None


def run(root: Path | None, source: Source) -> None:
    """Make the concept in the working tree if it is not there, and publish the vectors as its version.

    Raises:
        ConceptryError: the source cannot be read, or does not fit.
    """
    settings = load_settings(root)
    from flows.importing import publish_embeds
    from flows.lint import find_top
    from tasks.embeds import BASE_MODEL_OF_WIDTH, read_embeds

    embeds = read_embeds(source.path)
    width = embeds.rows.shape[1]
    base_model = source.base_model or BASE_MODEL_OF_WIDTH.get(width)
    if base_model is None:
        known = ", ".join(f"{model} {size}" for size, model in BASE_MODEL_OF_WIDTH.items())
        raise ConceptryError(f"vectors of width {width} fit no base model here ({known})", file=str(source.path))
    top, added = find_top(Path.cwd()), None
    if not (top / "concepts" / source.name).exists():
        token = (source.token or embeds.token or f"<{source.name}>").lower()
        kind = embeds.learnable_property
        pictures = source.images or (embeds.pictures[0].parent if embeds.pictures else None)
        wanted = Wanted(source.name, pictures, token, source.init or kind, kind, base_model, len(embeds.rows))
        added = add_concept(top, wanted)
    done = publish_embeds(settings, top, source.name, embeds)
    console = out()
    word = "was published before" if done.existed else "is published"
    what = f"[green]✓[/] {source.name} [bold]{done.version.name}[/] {word}"
    many = f"{len(embeds.rows)} vectors" if len(embeds.rows) > 1 else "a vector"
    console.print(f"{what}: {many} of width {width}.")
    if added is not None:
        _what_next(added, console)


def _what_next(added: Added, console: Console) -> None:
    console.print("\nLook at concept.yaml (a change of what is trained would train it again), then:\n")
    console.print(
        Syntax(
            commands(added, "the request to serve it: nothing is trained"),
            "bash",
            background_color="default",
            word_wrap=True,
        )
    )
