"""`conceptry deploy`: register the deployments of prefect.yaml under the names of this installation."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import typer
import yaml
from prefect.settings import get_current_settings

from conceptry.errors import SettingsError
from conceptry.settings import Settings
from flows.deployments import checked_tags
from local.serve_flows import FILE
from tasks.processes import python_module

STEP = "flows.deployments.deploy_step"
"""Build step in prefect.yaml that checks the names, and gets the suffix."""


def command() -> None:
    """Register the flows on the Prefect server of PREFECT_API_URL, as `prefect deploy --all` does with prefect.yaml.

    With CONCEPTRY_DEPLOYMENT_SUFFIX=-second it registers `watch/watch-second` and so on, for the work pool
    `conceptry-second`; the worker of that pool needs the same settings. Deployments of another installation are not
    replaced.
    """
    if not get_current_settings().api.url:
        raise SettingsError("no Prefect server is configured", next_step="set PREFECT_API_URL")
    suffix = Settings().deployment_suffix
    checked_tags(suffix)
    with tempfile.TemporaryDirectory(prefix="conceptry-deploy-") as folder:
        file = Path(folder) / "prefect.yaml"
        declared = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        file.write_text(yaml.safe_dump(with_suffix(declared, suffix)), encoding="utf-8")
        arguments = ["--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        done = subprocess.run(python_module("prefect", *arguments), check=False)
    raise typer.Exit(min(done.returncode, 1))


def with_suffix(declared: dict[str, Any], suffix: str) -> dict[str, Any]:
    """Return the content of prefect.yaml with a suffix on the names of deployments and work pools."""
    build = [
        {name: {**inputs, "suffix": suffix} if name == STEP else inputs for name, inputs in step.items()}
        for step in declared["build"]
    ]
    named = [
        {
            **one,
            "name": one["name"] + suffix,
            "work_pool": {**one["work_pool"], "name": one["work_pool"]["name"] + suffix},
        }
        for one in declared["deployments"]
    ]
    return {**declared, "build": build, "deployments": named}
