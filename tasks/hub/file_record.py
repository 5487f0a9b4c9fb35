"""Record of the files of a pushed Space, by which later manual edits are found.

`conceptry.json` in the Space holds two hashes of each file, because the Hub chooses whether a file is stored in git,
listed by its blob id, or in LFS, listed by its sha256. The stamp in the README (`files`) holds the record's own sha256.
A comparison with the record instead of a new rendering finds no edits when only the templates were refactored.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from huggingface_hub.hf_api import RepoFile
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from conceptry.markdown import dump_front_matter, split_front_matter
from tasks.hub.ownership import KEY

README, RECORD = "README.md", "conceptry.json"
Hex = Annotated[str, StringConstraints(pattern="^[0-9a-f]+$")]


class FileHashes(BaseModel):
    """Both hashes by which the Hub may list a file: its git blob id (SHA-1) and the sha256 of its bytes."""

    model_config = ConfigDict(frozen=True)

    blob: Hex
    sha256: Hex

    @classmethod
    def of(cls, content: bytes) -> "FileHashes":
        """Hash a file's bytes; the blob id follows https://git-scm.com/book/en/v2/Git-Internals-Git-Objects."""
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        return cls(blob=blob.hexdigest(), sha256=hashlib.sha256(content).hexdigest())

    def match(self, entry: RepoFile) -> bool:
        """Whether a file in the Hub's listing has these bytes."""
        return entry.lfs.sha256 == self.sha256 if entry.lfs is not None else entry.blob_id == self.blob


class FileRecord(BaseModel):
    """Content of `conceptry.json`."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, FileHashes]


def dump_record(files: Mapping[str, bytes | Path]) -> bytes:
    """Return the record of a Space's files."""
    hashes = {
        path: FileHashes.of(content if isinstance(content, bytes) else content.read_bytes())
        for path, content in sorted(files.items())
    }
    record = {"files": {path: found.model_dump() for path, found in hashes.items()}}
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def load_record(content: bytes | None, sha256: str) -> FileRecord | None:
    """Parse a record; None if it is missing or has another sha256."""
    if content is None or hashlib.sha256(content).hexdigest() != sha256:
        return None
    try:
        return FileRecord.model_validate_json(content)
    except ValidationError:
        return None


def without_record(readme: str) -> bytes:
    """Remove the record's sha256 from a README's stamp; the record holds the hash of the result."""
    data, text = split_front_matter(readme)
    stamp = data.get(KEY)
    if isinstance(stamp, dict):
        data[KEY] = {key: value for key, value in stamp.items() if key != "files"}
    return (dump_front_matter(data) + text).encode()
