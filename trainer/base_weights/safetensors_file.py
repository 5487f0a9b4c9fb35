"""Tensors of a .safetensors file, mapped from it: read when they are used, and in any number format.

A file is 8 bytes with the header's length (little-endian), a JSON object of names with type, shape and place, and the
tensors' bytes; see https://github.com/huggingface/safetensors. The library gives NumPy no bfloat16, and copies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

_LENGTH = 8
_LONGEST_HEADER = 100_000_000
"""Bytes, as in the library."""
_TYPES: dict[str, Any] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16,
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One tensor: its type in the header, its shape, and its first and last byte (exclusive) in the file."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """The table of contents of a file; `metadata` is what its writer said of it.

    Args:
        path: The file.

    Raises:
        ValueError: It is no whole .safetensors file; the message says what is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        document, start = _header(path)
        size = path.stat().st_size
        self.metadata: dict[str, str] = document.pop("__metadata__", None) or {}
        self.entries: dict[str, Entry] = {}
        for name, told in document.items():
            try:
                begin, end = (start + int(offset) for offset in told["data_offsets"])
                entry = Entry(str(told["dtype"]), tuple(map(int, told["shape"])), begin, end)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path} has a damaged header: {name}: {error}") from error
            if not start <= begin <= end:
                raise ValueError(f"{path} has a damaged header: {name} begins at {begin} and ends at {end}")
            self.entries[name] = entry
        needed = max((entry.end for entry in self.entries.values()), default=start)
        if size < needed:
            raise ValueError(f"{path} is cut off: it has {size} of its {needed} bytes; get it again")

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return a tensor's shape; None where there is no such tensor."""
        entry = self.entries.get(name)
        return entry.shape if entry else None

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """Map a tensor as it lies in the file. Raises ValueError where it is of no type that NumPy can compute with."""
        entry = self.entries[name]
        if entry.kind not in _TYPES:
            raise ValueError(f"{self.path}: {name} is stored as {entry.kind}, which is not read here")
        dtype = np.dtype(_TYPES[entry.kind])
        if int(np.prod(entry.shape)) * dtype.itemsize != entry.end - entry.begin:
            raise ValueError(
                f"{self.path} has a damaged header: {name} is {entry.shape} in {entry.end - entry.begin} B"
            )
        if entry.begin == entry.end:
            return np.empty(entry.shape, dtype)
        return np.memmap(self.path, dtype, "r", entry.begin, entry.shape or (1,)).reshape(entry.shape)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Read the header; returns it, and at which byte the tensors begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if not 2 <= length <= _LONGEST_HEADER:
            raise ValueError(f"{path} is no .safetensors file")
        text = file.read(length)
    if len(text) < length:
        raise ValueError(f"{path} is no .safetensors file, or is cut off in its header")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is no .safetensors file: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} is no .safetensors file")
    return document, _LENGTH + length
