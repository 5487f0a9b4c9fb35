"""Vectors of versions that a training needs: of the released one to compare with, and of the one to start from."""

import shutil
from pathlib import Path

from conceptry.errors import TrainingError
from conceptry.initial_version import find, initial_version_problem, words_of
from conceptry.initializer import InitialVersion
from conceptry.planner import choose_release
from conceptry.training_job import TrainingJob
from conceptry.version import LiveConcept, Version
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
    return _download(session, job.name, version, folder / f"{version.name}.safetensors")


def fetch_initial_vectors(session: HubSession, job: TrainingJob, folder: Path) -> str | None:
    """Download the vectors that concept.yaml starts from, if it names a version, to a file that is named after it.

    Returns the words that the first training of that line began with, which stand for it in prompts; None, and leaves
    no file, if concept.yaml names words.

    Raises:
        TrainingError: the version does not exist, or does not fit the concept.
        HubError: the version has no vectors, or the Hub refused.
        TransientError: the Hub could not be reached.
    """
    shutil.rmtree(folder, ignore_errors=True)
    start = job.spec.initial_version
    if start is None:
        return None
    live: dict[str, LiveConcept] = {start.name: read_live(session, start.name)}
    problem = initial_version_problem(job.spec, job.base, live)
    version = find(start, live[start.name])
    if problem or version is None:
        raise TrainingError(
            f"initializer_token: {problem}", concept=job.name, next_step="change concept.yaml, or publish that version"
        )
    _download(session, start.name, version, folder / f"{start}.safetensors")

    def look_up(start: InitialVersion) -> Version | None:
        if start.name not in live:
            live[start.name] = read_live(session, start.name)
        return find(start, live[start.name])

    return words_of(version, look_up, default=job.spec.learnable_property)


def _download(session: HubSession, name: str, version: Version, path: Path) -> Path:
    path.parent.mkdir(parents=True)
    write_atomically(path, read_bytes(session, name, EMBEDS, version.commit))
    return path
