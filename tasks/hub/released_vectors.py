"""Vectors of the released version, which the gate compares a new version with."""

import shutil
from pathlib import Path

from conceptry.planner import choose_release
from conceptry.training_job import TrainingJob
from tasks.file_io import write_atomically
from tasks.hub.card import EMBEDS
from tasks.hub.repo_versions import read_bytes, read_versions
from tasks.hub.session import HubSession


def fetch_released_vectors(session: HubSession, job: TrainingJob, folder: Path) -> Path | None:
    """Download the vectors of the released version to `folder`, to a file that is named after it.

    Returns None, and leaves no file, if no version is released or if it has other base model weights.

    Raises:
        HubError: the version has no vectors, or the Hub refused.
        TransientError: the Hub could not be reached.
    """
    shutil.rmtree(folder, ignore_errors=True)
    version = choose_release(job.spec, read_versions(session, job.name), job.inputs)
    if version is None or version.spec.get("base_digest") != job.base.digest:
        return None
    folder.mkdir(parents=True)
    path = folder / f"{version.name}.safetensors"
    write_atomically(path, read_bytes(session, job.name, EMBEDS, version.commit))
    return path
