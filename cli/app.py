"""The command line: which commands there are, in the order of the help."""

from __future__ import annotations

from collections.abc import Callable

import typer

from cli.commands import plans, servers, versions

app = typer.Typer(
    name="conceptry",
    help="A GitOps registry of Stable Diffusion concepts: pictures in git and DVC, trained tokens on the Hub.",
    epilog="A first look: `conceptry demo`. Your own pictures: `conceptry new`, then `conceptry plan`.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# By name where a command's name is no name for a function.
_COMMANDS: tuple[tuple[Callable[..., None], str | None], ...] = (
    (plans.new, None),
    (plans.plan, None),
    (plans.apply, None),
    (plans.train, None),
    (versions.versions, None),
    (versions.show, None),
    (versions.diff, None),
    (versions.pull, None),
    (versions.history, None),
    (versions.import_, "import"),
    (plans.lint, None),
    (plans.verify, None),
    (versions.gc, None),
    (versions.delete, None),
    (servers.up, None),
    (servers.demo, None),
    (servers.playground, None),
    (servers.endpoint, None),
)
for _command, _name in _COMMANDS:
    app.command(_name)(_command)

hub = typer.Typer(name="hub", help="The local Hub: a Hugging Face Hub on this machine.", no_args_is_help=True)
hub.command("serve")(servers.hub_serve)
setup = typer.Typer(name="setup", help="Prepare a place where trainings run.", no_args_is_help=True)
setup.command("gcp")(servers.setup_gcp)
base = typer.Typer(name="base", help="The base models that concepts are trained on.", no_args_is_help=True)
base.command("fetch")(servers.base_fetch)
for group in (hub, setup, base):
    app.add_typer(group)
