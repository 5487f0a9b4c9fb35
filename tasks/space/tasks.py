"""Prefect task that renders a Space."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task

from conceptry.concept import ConceptSpec
from tasks.retries import RETRY_TRANSIENT
from tasks.space.render import render_space


@task(name="render the Space", tags=["space"], **RETRY_TRANSIENT)
def render(folder: Path, spec: ConceptSpec, settings: Mapping[str, Any]) -> Path:
    """Render the Space of a version to a folder, which is created anew; return the folder."""
    return render_space(folder, spec, settings)
