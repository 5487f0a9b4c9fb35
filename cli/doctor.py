"""`conceptry doctor`: check the set-up, each finding with its fix."""

from __future__ import annotations

from dataclasses import asdict

import typer

from cli.options import Json, Root, print_json
from conceptry.errors import SettingsError
from flows.doctor import check_installation
from local.console import out, print_check
from local.current_setup import open_installation
from local.prefect_settings import prefect_of


def command(root: Root = None, json: Json = False) -> None:
    """Check settings, disk, git, DVC remote, tokens, clock, and the Prefect server with its deployments and its lock.

    Trainings on Vertex AI have checks of their own: `conceptry setup gcp --check`. Exit code: 0 all checks passed, 1
    a check failed.
    """
    console, failed, results = out(), 0, []
    with open_installation(root) as installation, prefect_of(root):
        for check in check_installation(installation):
            failed += not check.ok
            results.append(check)
            if not json:
                print_check(console, check)
        problem = installation.vertex if isinstance(installation.vertex, SettingsError) else None
    if json:
        print_json([asdict(check) for check in results])
    elif problem is not None:
        console.print(f"Vertex AI is not used: {problem}", markup=False, soft_wrap=True)
    raise typer.Exit(1 if failed else 0)
