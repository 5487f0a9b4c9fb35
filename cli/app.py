"""Table of the commands, in the order of the help. The module of a command is imported when it runs."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cli.requirements import check_installed
from conceptry.isolation import printable_name
from conceptry.suggestion import did_you_mean

UsageError: Any = typer.BadParameter.__mro__[1]
"""Class of all mistakes in a command line; typer exports only this subclass of it."""

COMMANDS = {
    "init": ("cli.init", "Prepare a folder for concepts: git, DVC with a remote, and the schema for editors."),
    "new": (
        "cli.new",
        "Add a concept to this repository: concept.yaml, images, and their .dvc file.",
    ),
    "status": ("cli.status", "Show what is in flight, what waits and for what, and what needs you."),
    "logs": ("cli.logs", "Print the last lines of a concept's training."),
    "doctor": (
        "cli.doctor",
        "Check the set-up, from git to the Prefect server; each finding with its fix.",
    ),
    "plan": ("cli.plan", "Show what the registry would do now, and why: git compared with the Hub."),
    "apply": ("cli.apply", "Carry out a saved plan; it is refused if git or the Hub has changed since."),
    "train": ("cli.train", "Train, judge and publish one concept now, without waiting for the watcher."),
    "rollback": ("cli.rollback", "Commit the change that serves an older version, after showing its plan."),
    "versions": ("cli.versions", "List the published versions of a concept, and which one its Space serves."),
    "show": ("cli.show", "Show one version: gate, lineage, metrics, concept.yaml, images and files."),
    "diff": ("cli.diff", "Compare two versions: images, concept.yaml, metrics, the vectors' cosine, and both grids."),
    "pull": ("cli.pull", "Download a version, every file checked by its sha256."),
    "history": ("cli.history", "List what happened to a concept: its commits in git, its versions and releases."),
    "import": (
        "cli.import_",
        "Publish vectors that were learned elsewhere as a concept's version.",
    ),
    "lint": ("cli.lint", "Check all concepts of this checkout: files, tokens, initializers, releases, images."),
    "verify": ("cli.verify", "Hash everything again, from git through DVC to the Hub."),
    "gc": ("cli.gc", "Show which versions may be deleted, and with --apply delete them."),
    "adopt": ("cli.adopt", "Take over repos on the Hub that this installation did not make."),
    "delete": ("cli.delete", "Delete a concept that is no longer in git from the Hub, with all its versions."),
    "deploy": ("cli.deploy", "Register the flows on your Prefect server, beside other installations."),
    "worker": ("cli.worker", "Check the settings of this machine, then run what your Prefect server schedules."),
    "up": ("cli.up", "Run everything on this machine: Prefect with its UI, a local Hub, and the flows."),
    "demo": ("cli.demo", "Run the complete workflow on this machine: images in git become a published concept."),
    "playground": ("cli.playground", "Open a published concept's Space on this machine."),
    "endpoint": ("cli.endpoint", "Serve a published version on this machine as an Inference Endpoint would."),
}
GROUPS = {
    "hub": (
        "The local Hub: a Hugging Face Hub on this machine.",
        {"serve": ("cli.hub_serve", "Serve the local Hub alone, in the foreground.")},
    ),
    "team": (
        "A team's set-up on one machine: PostgreSQL, Prefect, Hub, TLS in front, two workers.",
        {
            "up": ("cli.team_up", "Run a team's set-up on this machine, as docs/team.md describes it."),
            "backup": ("cli.team_backup", "Back up a team's set-up: database, Hub, work folders, secrets."),
            "restore": ("cli.team_restore", "Make a team's set-up again from a backup."),
        },
    ),
    "setup": (
        "Prepare trainings on Vertex AI, and the work pool of your workers.",
        {
            "gcp": (
                "cli.setup_gcp",
                "Register the Prefect blocks that trainings on Vertex AI need, and check the rest.",
            ),
            "pool": (
                "cli.setup_pool",
                "Create the work pool on your Prefect server: processes, docker, Kubernetes, Cloud Run.",
            ),
        },
    ),
    "base": (
        "The base models that concepts are trained on.",
        {
            "fetch": ("cli.base_fetch", "Download a base model's weights, each file checked by its sha256."),
            "add": ("cli.base_add", "Name a Stable Diffusion checkpoint in bases.yaml, to train on it."),
            "convert": ("cli.base_convert", "Write pickled weights as .safetensors, without running their code."),
            "ls": ("cli.base_ls", "List the base models, their folder, and which files are there."),
            "verify": ("cli.base_verify", "Check the sha256 of every file that is there."),
            "mirror": ("cli.base_mirror", "Copy the files to a folder or a bucket, for other machines."),
        },
    ),
}


class LazyCommand(TyperCommand):
    """Command with name and summary, whose module is imported when it runs or prints its help."""

    def __init__(self, name: str, module: str, summary: str, group: str | None = None) -> None:
        super().__init__(name, help=summary, short_help=summary)
        self._module = module
        self._path = f"{group} {name}" if group else name

    def load(self) -> Any:
        """Import the module and return the command made from its function `command`.

        Raises:
            MissingExtraError: the command needs an extra that is not installed.
        """
        check_installed(self._path)
        single = typer.Typer(
            context_settings=_CONTEXT, pretty_exceptions_enable=False, rich_markup_mode="rich", add_completion=False
        )
        single.command(self.name)(import_module(self._module).command)
        return typer.main.get_command(single)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments with the imported command; the returned context runs it."""
        command = self.load()
        gc.freeze()
        gc.enable()
        try:
            return command.make_context(info_name, args, parent, **extra)
        except UsageError as error:
            if (wrong := getattr(error, "option_name", None)) and hasattr(error, "possibilities"):
                options = [
                    name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
                ]
                error.message, error.possibilities = _no_such("option", wrong, options), None
            raise


class SuggestingGroup(TyperGroup):
    """Group that suggests a command for a mistyped one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and arguments; fail for a command that does not exist."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            ctx.fail(_no_such("command", name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def _no_such(kind: str, wrong: str, known: list[str]) -> str:
    question = did_you_mean(wrong, known)
    return f"there is no {kind} {printable_name(wrong)}" + (f"; {question}" if question else "")


def _group(name: str, text: str, commands: dict[str, tuple[str, str]]) -> SuggestingGroup:
    lazy: dict[str, Any] = {one: LazyCommand(one, *about, group=name) for one, about in commands.items()}
    return SuggestingGroup(
        name=name, help=text, short_help=text, commands=lazy, no_args_is_help=True, context_settings=_CONTEXT
    )


class Commands(SuggestingGroup):
    """Group of all commands, in the order of the help."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names."""
        del ctx
        return [*COMMANDS, *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by name, whose module is not imported yet; None if it does not exist."""
        del ctx
        if cmd_name in GROUPS:
            return _group(cmd_name, *GROUPS[cmd_name])
        return LazyCommand(cmd_name, *COMMANDS[cmd_name]) if cmd_name in COMMANDS else None


_CONTEXT = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="conceptry",
    cls=Commands,
    help="A GitOps registry of Stable Diffusion concepts: images in git and DVC, trained tokens on the Hub.",
    epilog="To try it: `conceptry demo`. Your own images: `conceptry init`, `conceptry new`, then `conceptry plan`.",
    no_args_is_help=True,
    # Plain text: what typer imports for its panels takes twice as long as all else.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={**_CONTEXT, "max_content_width": 120},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # after the help, which needs none of it

        typer.echo(f"conceptry {version('conceptry')}")
        raise typer.Exit


@app.callback()
def conceptry(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Mark the app as a group, which typer otherwise does only for several registered commands."""
