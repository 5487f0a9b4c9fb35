"""Vectors of the released version, which the gate compares a new version with."""

import shutil
from pathlib import Path

from conceptry.planner import choose_release
from conceptry.training_job import TrainingJob
from tasks.file_io import write_atomically
from tasks.hub.card import EMBEDS
from tasks.hub.live_state import read_live
from tasks.hub.repo_versions import read_bytes
from tasks.hub.session import HubSession


def fetch_released_vectors(session: HubSession, job: TrainingJob, folder: Path) -> Path | None:
    """Download the vectors of the version that the Space serves, or is to serve, to a file that is named after it.

    Returns None, and leaves no file, if there is none or if it was trained on other base model weights.

    Raises:
        HubError: the version has no vectors, or the Hub refused.
        TransientError: the Hub could not be reached.
    """
    shutil.rmtree(folder, ignore_errors=True)
    live = read_live(session, job.name)
    served = live.space.release if live.space else None
    version = next((version for version in live.versions if version.name == served), None)
    version = version or choose_release(job.spec, live.versions, job.inputs)
    if version is None or version.spec.get("base_digest") != job.base.digest:
        return None
    folder.mkdir(parents=True)
    path = folder / f"{version.name}.safetensors"
    write_atomically(path, read_bytes(session, job.name, EMBEDS, version.commit))
    return path
