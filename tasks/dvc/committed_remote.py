"""DVC remote that is a folder of the repository itself, committed with everything else: read from git's objects.

`dvc remote add -d storage .dvc/remote` makes one, which suits an example or a few small images: whoever clones the
repository has them, without an account or a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pygit2

from conceptry.mirror import Mirror
from tasks.mirror_objects import commit_at, look_up, open_mirror


@dataclass(frozen=True)
class CommittedRemote:
    """DVC remote in a folder of the repository, at one revision.

    Attributes:
        name: Name of the remote.
        mirror: The repository.
        revision: Git commit.
        folder: Path of the remote, from the top of the repository.
    """

    name: str
    mirror: Mirror
    revision: str
    folder: str

    def read(self, oid: str) -> bytes | None:
        """Read one object; None if it does not exist. The md5 is not checked.

        Raises:
            TransientError: the mirror is damaged.
        """
        repository = open_mirror(self.mirror.folder)  # of its own: libgit2's objects are not to be shared by threads
        commit = commit_at(repository, self.revision)
        for place in ("files/md5/", ""):
            found = look_up(repository, commit, f"{self.folder}/{place}{oid[:2]}/{oid[2:]}")
            if isinstance(found, pygit2.Blob):
                return bytes(found.data)
        return None

    def download(self, oid: str, path: Path) -> bool:
        """Write one object to `path`; return False if it does not exist. The md5 is not checked.

        Raises:
            TransientError: the mirror is damaged.
        """
        data = self.read(oid)
        if data is not None:
            path.write_bytes(data)
        return data is not None

    def exists(self, oid: str) -> bool:
        """Whether an object exists.

        Raises:
            TransientError: the mirror is damaged.
        """
        return self.read(oid) is not None
