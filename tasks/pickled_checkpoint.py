"""Conversion of pickled checkpoints (.ckpt, .pt, .bin of `torch.save`) to .safetensors, without executing pickled code.

A pickle can call any function by name. Here tensors are rebuilt as descriptions of where their data lies in the
archive, and every other object becomes one that does nothing. The data is copied one tensor at a time, as it is stored.

Source: torch/serialization.py and torch/_utils.py of PyTorch 2; https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conceptry.errors import ConceptryError

_FORMATS = {
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "DoubleStorage": ("F64", 8),
}
"""Number formats of a storage: the name in .safetensors, and bytes of an element. Whole numbers are no weights."""
_PARTS = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.")
"""What is kept of a whole Stable Diffusion; the rest are copies of a moving average, losses and optimizers."""
_LARGEST_PICKLE = 200 * 2**20


@dataclass(frozen=True)
class _Storage:
    """Data of tensors in the archive."""

    key: str
    kind: str
    item: int
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A tensor: where its elements lie in a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return int(np.prod(self.shape, dtype="int64")) * self.storage.item


class _Inert(dict[Any, Any]):
    """Takes the place of any other object; nothing of it is called."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, _: Any) -> None:
        """Take no state."""

    def append(self, _: Any) -> None:
        """Take no item."""

    def extend(self, _: Any) -> None:
        """Take no items."""


def convert(source: Path, target: Path) -> int:
    """Write the weights of a pickled checkpoint as a .safetensors file.

    Args:
        source: A file of `torch.save`, of PyTorch 1.6 or later.
        target: The file to write; it appears whole.

    Returns:
        How many tensors it has.

    Raises:
        ConceptryError: it is no such file, is damaged, or holds no weights.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        with zipfile.ZipFile(source) as archive:
            prefix, tensors = _read(archive)
            if not tensors:
                raise ConceptryError(f"{source} holds no weights")
            _write(archive, prefix, tensors, partial)
            partial.replace(target)
    except zipfile.BadZipFile as error:
        step = "load and save it once with a newer PyTorch, if you trust it"
        raise ConceptryError(f"{source} is no archive of PyTorch 1.6 or later ({error})", next_step=step) from error
    except (pickle.UnpicklingError, ValueError, KeyError, EOFError, TypeError, AttributeError, IndexError) as error:
        raise ConceptryError(f"{source} cannot be read: {error}", next_step="get it again") from error
    finally:
        partial.unlink(missing_ok=True)
    return len(tensors)


def _read(archive: zipfile.ZipFile) -> tuple[str, dict[str, _Tensor]]:
    """Return the archive's folder, and its tensors by name."""
    names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
    if len(names) != 1:
        raise ValueError("it is a zip archive, but none of PyTorch: it has no data.pkl")
    if archive.getinfo(names[0]).file_size > _LARGEST_PICKLE:
        raise ValueError("its data.pkl is too large")
    with archive.open(names[0]) as stream:
        document = _Unpickler(stream).load()
    state = document.get("state_dict", document) if isinstance(document, Mapping) else None
    if not isinstance(state, Mapping):
        raise ValueError("it holds no state_dict")
    found = {str(name): value for name, value in state.items() if isinstance(value, _Tensor)}
    if any(name.startswith(_PARTS[0]) for name in found):
        found = {name: value for name, value in found.items() if name.startswith(_PARTS)}
    return names[0].removesuffix("data.pkl"), found


def _write(archive: zipfile.ZipFile, prefix: str, tensors: Mapping[str, _Tensor], target: Path) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": tensor.storage.kind,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.size],
        }
        at += tensor.size
    text = json.dumps(header).encode()
    with target.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            out.write(_data(archive.read(f"{prefix}data/{tensor.storage.key}"), tensor))


def _data(stored: bytes, tensor: _Tensor) -> bytes:
    """Return a tensor's elements, one after the other."""
    storage = tensor.storage
    last = tensor.offset + sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride, strict=True))
    if min((tensor.offset, *tensor.shape, *tensor.stride), default=0) < 0 or last >= storage.count:
        raise ValueError("a tensor reaches beyond its data")
    if len(stored) < storage.count * storage.item:
        raise ValueError("it is cut off")
    flat = np.frombuffer(stored, f"<u{storage.item}", storage.count)
    strides = tuple(step * storage.item for step in tensor.stride)
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(view).tobytes()


class _Unpickler(pickle.Unpickler):
    """Builds containers, texts, numbers and descriptions of tensors; everything else is inert."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for; nothing is imported."""
        if module == "torch" and name.endswith("Storage"):
            return name
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        return known.get((module, name), _Inert)

    def persistent_load(self, pid: Any) -> Any:
        """Describe the data of tensors.

        Raises:
            pickle.UnpicklingError: the reference is not one to tensors' data.
        """
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not str(pid[2]).isalnum():
            raise pickle.UnpicklingError("it refers to something that is no tensor")
        kind, item = _FORMATS.get(str(pid[1]), ("", 1))
        return _Storage(str(pid[2]), kind, item, int(pid[4]))


def _rebuild(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Any:
    if not isinstance(storage, _Storage) or not storage.kind:
        return None
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def convert_all(source: Path) -> Iterator[tuple[Path, int]]:
    """Convert a file, or each pickled file of a folder of diffusers, beside it; yield what was written.

    Raises:
        ConceptryError: as `convert`; or there is nothing to convert.
    """
    files = [source] if source.is_file() else sorted(source.glob("*/*.bin"))
    if not files:
        raise ConceptryError(f"{source} has no pickled weights")
    for file in files:
        # transformers and diffusers name the same weights after what they are saved as.
        stem = "model" if file.name == "pytorch_model.bin" else file.stem
        target = file.with_name(f"{stem}.safetensors")
        if target.exists():
            raise ConceptryError(f"{target} exists", next_step="move it away, or use it")
        yield target, convert(file, target)
