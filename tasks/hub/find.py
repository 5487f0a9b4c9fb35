"""Lookup of a version by reference (`my-cat@v2`), and its download with digests checked."""

from dataclasses import dataclass
from pathlib import Path

from conceptry.errors import DataCorruptError
from conceptry.version import Manifest, Version
from conceptry.version_ref import VersionRef
from tasks.file_io import has_digest
from tasks.hub.live_state import read_live
from tasks.hub.publish import download
from tasks.hub.repo_versions import read_manifest
from tasks.hub.session import HubSession


@dataclass(frozen=True)
class FoundVersion:
    """Version with its manifest, and whether its concept's Space serves it."""

    name: str
    version: Version
    manifest: Manifest
    released: bool

    @property
    def title(self) -> str:
        """The version as a reference, for example my-cat@v2."""
        return f"{self.name}@{self.version.name}"


def find_by_ref(session: HubSession, ref: VersionRef) -> FoundVersion:
    """Return the version that a reference resolves to.

    Raises:
        ConceptryError: the version does not exist; the message names the published ones.
        TransientError: the Hub could not be reached.
    """
    live = read_live(session, ref.name)
    version = ref.choose(live)
    released = live.space is not None and live.space.release == version.name
    return FoundVersion(ref.name, version, read_manifest(session, ref.name, version), released)


def pull(session: HubSession, ref: VersionRef, folder: Path) -> FoundVersion:
    """Download a whole version and check the sha256 of every file.

    Raises:
        ConceptryError: the version does not exist, or the folder contains other files of these names.
        DataCorruptError: a downloaded file does not have the sha256 in the manifest.
        TransientError: the Hub could not be reached.
    """
    found = find_by_ref(session, ref)
    download(session, found.name, found.version.commit, folder)
    wrong = [path for path, sha256 in found.manifest.files.items() if not has_digest(folder / path, "sha256", sha256)]
    if wrong:
        share = f"{len(wrong)} of {len(found.manifest.files)} files"
        raise DataCorruptError(
            f"{share} are not those of {found.version.name}: {', '.join(wrong[:5])}",
            concept=found.name,
            next_step=f"remove {folder} and pull again; check the Hub's files with `conceptry verify {found.name}`",
        )
    return found
