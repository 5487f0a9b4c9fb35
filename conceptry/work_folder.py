"""The scratch folder of an installation (CONCEPTRY_WORK): every path below it, who writes it, what may be deleted.

    path                     written by                   may be deleted
    mirror.git[.lock]        tasks.git.fetch              while no flow runs; fetched anew
    listings/                tasks.dvc.list_images        at any time; read from the DVC remote again
    runs/FINGERPRINT/        the flow train_concept       when no run of it is active; a retry begins anew
    places/N.lock            the flow train_concept       while no training runs
    locks/NAME.lock          whoever writes to a concept  while no flow runs
    watch.lock               the flows watch and apply    while no flow runs
    plan.json                the flow watch               at any time; events of unchanged concepts are sent again
    drift.json               flows.observe                at any time; repos are inspected again
    versions/FINGERPRINT/    conceptry diff               at any time; downloaded again
    diff/, playground/,      the commands of these names  while the command does not run
    endpoint/, demo/

Nothing here is needed to know what is released: git and the Hub are the state. docs/architecture.md says more about the
locks.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkFolder:
    """Paths below the scratch folder; none of them need exist."""

    root: Path

    @property
    def mirror(self) -> Path:
        """Bare mirror of the origin."""
        return self.root / "mirror.git"

    @property
    def listings(self) -> Path:
        """Listings of images folders (`MD5.dir`), by md5."""
        return self.root / "listings"

    @property
    def plan(self) -> Path:
        """The plan of the last watch, to tell which concepts changed their state."""
        return self.root / "plan.json"

    @property
    def drift(self) -> Path:
        """When each repo was last inspected for drift."""
        return self.root / "drift.json"

    @property
    def watch_lock(self) -> Path:
        """Held by the one watch or apply of this machine."""
        return self.root / "watch.lock"

    @property
    def places(self) -> Path:
        """Locks of this machine's places for training."""
        return self.root / "places"

    def concept_lock(self, name: str) -> Path:
        """Held while a concept's repos are written to."""
        return self.root / "locks" / f"{name}.lock"

    def run(self, fingerprint: str) -> Path:
        """Folder of one training."""
        return self.root / "runs" / fingerprint

    def version(self, fingerprint: str) -> Path:
        """Downloaded files of a version."""
        return self.root / "versions" / fingerprint
