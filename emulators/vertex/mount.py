"""/gcs on this machine: a folder with copies of the objects that a job reads; changes are uploaded to the bucket.

On Vertex AI this is Cloud Storage FUSE, where a file appears in the bucket when it is closed, and an object that others
write appears as a file. Here a file is uploaded a moment after its last change, and new objects are looked for a few
times a second; an object that others replace or delete meanwhile stays as it was. Each attempt of a job starts with an
empty folder, like a new machine: the files of earlier attempts come from the bucket.
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
_LOOK = 0.25
"""Seconds between two looks for objects that others wrote."""


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
    _prefixes: list[tuple[str, str]] = field(default_factory=list)
    _looked: float = 0.0

    def map(self, text: str) -> str:
        """Replace /gcs/ by the folder in a command's argument or a variable's value."""
        return _START.sub(f"{self.folder}/", text)

    def fill(self, texts: Iterable[str]) -> None:
        """Download all objects below the /gcs/ paths that the texts contain."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._prefixes = sorted({(match[1], match[2]) for text in texts for match in _PATH.finditer(text)})
        for bucket, _ in self._prefixes:
            (self.folder / bucket).mkdir(exist_ok=True)
        self._download_new()

    def sync(self, *, final: bool = False) -> None:
        """Upload changed files and delete removed ones; unless `final`, skip files that are still being written."""
        if not final and time.monotonic() - self._looked > _LOOK:
            self._download_new()
        now = time.time_ns()
        found = dict(self._files())
        # In the order in which they were closed, in which they appear on Vertex AI.
        for name, stamp in sorted(found.items(), key=lambda item: item[1]):
            if self._seen.get(name) != stamp and (final or now - stamp[0] > _SETTLED * 1e9):
                self._upload(name)
                self._seen[name] = stamp
                self.written.add(name)
        for name in self._seen.keys() - found.keys():
            bucket, _, path = name.partition("/")
            with suppress(NotFound):
                self.client.bucket(bucket).blob(path).delete()
            del self._seen[name]

    def _download_new(self) -> None:
        """Download the objects below the paths that were not there at the last look."""
        for bucket, prefix in self._prefixes:
            found = self.client.list_blobs(bucket, prefix=prefix.rstrip("/"))
            # In the order in which they were written: who sees one finds those before it.
            for blob in sorted(found, key=lambda blob: blob.updated):
                name = f"{bucket}/{blob.name}"
                inside = blob.name == prefix or blob.name.startswith(prefix.rstrip("/") + "/")
                if inside and name not in self._seen and not (self.folder / name).exists():
                    self._download(blob, name)
        self._looked = time.monotonic()

    def _download(self, blob: storage.Blob, name: str) -> None:
        path, whole = self.folder / name, self.folder.with_name(f"{self.folder.name}.download")
        with suppress(NotFound):  # deleted meanwhile
            blob.download_to_filename(str(whole))
            path.parent.mkdir(parents=True, exist_ok=True)
            whole.replace(path)
            stat = path.stat()
            self._seen[name] = (stat.st_mtime_ns, stat.st_size)

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
