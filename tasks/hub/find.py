"""Single versions by what people write (`my-cat@v2`): found with their manifest, downloaded with digests checked."""

from dataclasses import dataclass
from pathlib import Path

from conceptry.errors import DataCorruptError
from conceptry.version import Manifest, Version
from conceptry.version_ref import VersionRef
from tasks.files import has_digest
from tasks.hub.listing import read_live
from tasks.hub.publish import download
from tasks.hub.refs import read_manifest
from tasks.hub.session import HubSession


@dataclass(frozen=True)
class FoundVersion:
    """A version with its manifest, and whether its concept's Space serves it."""

    name: str
    version: Version
    manifest: Manifest
    released: bool

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{self.name}@{self.version.name}"


def find_by_ref(session: HubSession, ref: VersionRef) -> FoundVersion:
    """Find the version that a reference means.

    Raises:
        ConceptryError: there is no such version; the message names those that there are.
        TransientError: the Hub could not be asked.
    """
    live = read_live(session, ref.name)
    version = ref.choose(live)
    released = live.space is not None and live.space.release == version.name
    return FoundVersion(ref.name, version, read_manifest(session, ref.name, version), released)


def pull(session: HubSession, ref: VersionRef, folder: Path) -> FoundVersion:
    """Download a whole version and check the sha256 of every file.

    Raises:
        ConceptryError: there is no such version, or the folder holds other files of these names.
        DataCorruptError: what arrived is not what the manifest says.
        TransientError: the Hub could not be asked.
    """
    found = find_by_ref(session, ref)
    download(session, found.name, found.version.commit, folder)
    wrong = [path for path, sha256 in found.manifest.files.items() if not has_digest(folder / path, "sha256", sha256)]
    if wrong:
        share = f"{len(wrong)} of {len(found.manifest.files)} files"
        raise DataCorruptError(
            f"{share} are not those of {found.version.name}: {', '.join(wrong[:5])}",
            concept=found.name,
            next_step=f"remove {folder} and pull again; `conceptry verify {found.name}` tells whether the Hub has them",
        )
    return found
