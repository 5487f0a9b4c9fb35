"""Scratch folder of an installation (CONCEPTRY_WORK): every path below it, its writer, and when it may be deleted.

    path                     written by                   may be deleted
    mirror.git[.lock]        tasks.git.fetch              while no flow runs; fetched again
    listings/                tasks.dvc.list_images        at any time; read from the DVC remote again
    runs/FINGERPRINT/        the flow train_concept       if no run of it is active; a retry starts over. A watch
                                                          deletes old ones, see CONCEPTRY_RUN_FOLDER_DAYS
    places/N.lock            the flow train_concept       while no training runs
    trainers/                the flow train_concept       while no training runs; see trainer.server_folder
    locks/NAME.lock          writers of a concept         while no flow runs
    watch.lock               the flows watch and apply    while no flow runs
    watcher.lock             the flow watcher             while it does not run
    checks/                  conceptry plan               at any time; images are read again
    plan.json                the flow watch               at any time; events of unchanged concepts are emitted again
    waits.json               the flow watch               at any time; waits for data count from then on
    skipped.json             the flow watch               at any time; the order of its actions starts over
    refused/NAME.json        writers of a concept         at any time; the Hub is asked again
    hub-limit.json           writers of a concept         at any time; the Hub is asked again
    drift.json               flows.observe                at any time; repos are inspected again
    moved.json               conceptry up                 if no DVC remote is inside the set-up's folder
    versions/FINGERPRINT/    conceptry diff               at any time; downloaded again
    diff/, playground/,      the commands of these names  while the command does not run
    endpoint/, demo/

No state is lost with this folder: git and the Hub hold it. docs/architecture.md describes the locks.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkFolder:
    """Paths below the scratch folder; none of them has to exist."""

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
    def trainers(self) -> Path:
        """Folders in which trainings find the training servers of their host."""
        return self.root / "trainers"

    @property
    def checks(self) -> Path:
        """What was found in images by `conceptry plan`."""
        return self.root / "checks"

    @property
    def plan(self) -> Path:
        """Plan of the last watch, with which the next one finds concepts that changed their state."""
        return self.root / "plan.json"

    @property
    def waits(self) -> Path:
        """Since when concepts wait for their images."""
        return self.root / "waits.json"

    @property
    def drift(self) -> Path:
        """When each repo was last inspected for drift."""
        return self.root / "drift.json"

    @property
    def moved(self) -> Path:
        """Where the folder of an embedded set-up was before it was moved."""
        return self.root / "moved.json"

    @property
    def skipped(self) -> Path:
        """Concepts that the last watch had no time for."""
        return self.root / "skipped.json"

    def refused(self, name: str) -> Path:
        """Return the record of what the Hub refused to do for a concept."""
        return self.root / "refused" / f"{name}.json"

    @property
    def hub_limit(self) -> Path:
        """Until when the Hub takes no changes, and why."""
        return self.root / "hub-limit.json"

    @property
    def watch_lock(self) -> Path:
        """Held by the one watch or apply of this machine."""
        return self.root / "watch.lock"

    @property
    def watcher_lock(self) -> Path:
        """Held by the one watcher of this machine."""
        return self.root / "watcher.lock"

    @property
    def places(self) -> Path:
        """Locks of this machine's slots for training."""
        return self.root / "places"

    def concept_lock(self, name: str) -> Path:
        """Return the lock that is held while a concept's repos are written."""
        return self.root / "locks" / f"{name}.lock"

    @property
    def runs(self) -> Path:
        """Folders of trainings."""
        return self.root / "runs"

    def run(self, fingerprint: str) -> Path:
        """Return the folder of one training."""
        return self.runs / fingerprint

    def version(self, fingerprint: str) -> Path:
        """Return the folder for downloaded files of a version."""
        return self.root / "versions" / fingerprint
