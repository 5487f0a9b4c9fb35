"""/gcs on this machine: a folder with copies of the objects that a job reads; changes are uploaded to the bucket.

On Vertex AI this is Cloud Storage FUSE, where a file appears in the bucket when it is closed. Here a file is uploaded a
moment after its last change. Each attempt of a job starts with an empty folder, like a new machine: the files of
earlier attempts come from the bucket.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from google.api_core.exceptions import NotFound
from google.cloud import storage

_PATH = re.compile(r"(?<![\w/.-])/gcs/([a-z0-9][a-z0-9._-]+)/([^\s'\":,]*)")
_START = re.compile(r"(?<![\w/.-])/gcs/")
_SETTLED = 0.05
"""A file counts as closed this many seconds after its last change."""


@dataclass
class Mount:
    """One job's /gcs. `written` are the uploaded files, as BUCKET/OBJECT.

    Args:
        folder: of the copies; it is emptied.
        client: of Cloud Storage.
    """

    folder: Path
    client: storage.Client
    written: set[str] = field(default_factory=set)
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def map(self, text: str) -> str:
        """Replace /gcs/ by the folder in a command's argument or a variable's value."""
        return _START.sub(f"{self.folder}/", text)

    def fill(self, texts: Iterable[str]) -> None:
        """Download all objects below the /gcs/ paths that the texts contain."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for bucket, prefix in sorted({(match[1], match[2]) for text in texts for match in _PATH.finditer(text)}):
            (self.folder / bucket).mkdir(exist_ok=True)
            for blob in self.client.list_blobs(bucket, prefix=prefix.rstrip("/")):
                if blob.name == prefix or blob.name.startswith(prefix.rstrip("/") + "/"):
                    path = self.folder / bucket / blob.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    blob.download_to_filename(str(path))
        self._seen = dict(self._files())

    def sync(self, *, final: bool = False) -> None:
        """Upload changed files and delete removed ones; unless `final`, skip files that are still being written."""
        now = time.time_ns()
        found = dict(self._files())
        for name, stamp in found.items():
            if self._seen.get(name) != stamp and (final or now - stamp[0] > _SETTLED * 1e9):
                self._upload(name)
                self._seen[name] = stamp
                self.written.add(name)
        for name in self._seen.keys() - found.keys():
            bucket, _, path = name.partition("/")
            with suppress(NotFound):
                self.client.bucket(bucket).blob(path).delete()
            del self._seen[name]

    def _upload(self, name: str) -> None:
        bucket, _, path = name.partition("/")
        with suppress(FileNotFoundError):  # renamed meanwhile
            self.client.bucket(bucket).blob(path).upload_from_filename(str(self.folder / name))

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for path in sorted(self.folder.rglob("*")):
            try:
                if path.is_file():
                    stat = path.stat()
                    yield path.relative_to(self.folder).as_posix(), (stat.st_mtime_ns, stat.st_size)
            except FileNotFoundError:
                continue
