"""The record of a pushed Space: which files it was given, so that an audit can tell what somebody edited since.

`conceptry.json` in the Space holds two hashes of each file: the Hub lists a file in git by its blob id, one in LFS by
its sha256, and which of the two a file becomes is the Hub's choice. The README's stamp (`files`) holds the record's own
sha256. Comparing with the record, not with a fresh rendering, keeps a Space in order when the templates are refactored.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from huggingface_hub.hf_api import RepoFile
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from conceptry.markdown import dump_front_matter, split_front_matter
from tasks.hub.listing import KEY

README, RECORD = "README.md", "conceptry.json"
Hex = Annotated[str, StringConstraints(pattern="^[0-9a-f]+$")]


class FileHashes(BaseModel):
    """Both names that the Hub may give a file: its id as a git blob (SHA-1), and the sha256 of its bytes."""

    model_config = ConfigDict(frozen=True)

    blob: Hex
    sha256: Hex

    @classmethod
    def of(cls, content: bytes) -> "FileHashes":
        """Hash a file's bytes; the blob id is that of https://git-scm.com/book/en/v2/Git-Internals-Git-Objects."""
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        return cls(blob=blob.hexdigest(), sha256=hashlib.sha256(content).hexdigest())

    def match(self, entry: RepoFile) -> bool:
        """Tell whether a file in the Hub's listing has these bytes."""
        return entry.lfs.sha256 == self.sha256 if entry.lfs is not None else entry.blob_id == self.blob


class FileRecord(BaseModel):
    """What `conceptry.json` holds."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, FileHashes]


def dump_record(files: Mapping[str, bytes | Path]) -> bytes:
    """Write the record of a Space's files."""
    hashes = {
        path: FileHashes.of(content if isinstance(content, bytes) else content.read_bytes())
        for path, content in sorted(files.items())
    }
    record = {"files": {path: found.model_dump() for path, found in hashes.items()}}
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def load_record(content: bytes | None, sha256: str) -> FileRecord | None:
    """Read a record; None when it is missing or is not the one with this sha256."""
    if content is None or hashlib.sha256(content).hexdigest() != sha256:
        return None
    try:
        return FileRecord.model_validate_json(content)
    except ValidationError:
        return None


def without_record(readme: str) -> bytes:
    """Take the record's sha256 out of a README's stamp: the record holds the hash of what is left."""
    data, text = split_front_matter(readme)
    stamp = data.get(KEY)
    if isinstance(stamp, dict):
        data[KEY] = {key: value for key, value in stamp.items() if key != "files"}
    return (dump_front_matter(data) + text).encode()
