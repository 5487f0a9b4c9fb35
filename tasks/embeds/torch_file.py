"""Reader of what `torch.save` wrote, without PyTorch and without executing pickled code.

    zip archive (PyTorch 1.6 and later)   ARCHIVE/data.pkl, and the data of each tensor in ARCHIVE/data/KEY
    stream (before)                       five pickles (magic number, protocol, machine, object, keys), then for each
                                          key the number of elements (8 bytes, little-endian) and the data

A pickle can call any function by name. This reader allows the names that tensors and their containers need and refuses
every other one.

Source: torch/serialization.py and torch/_utils.py of PyTorch 2.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BYTES = 64 * 2**20
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First pickle of the stream format."""
_MACHINE_PICKLES = 2
_STORAGES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


def load_torch(data: bytes) -> Any:
    """Return the object of a file of `torch.save`: containers, numbers, texts, and tensors as arrays.

    bfloat16 becomes float32. A module becomes the mapping of its parameters.

    Raises:
        ValueError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError, EOFError: it is none, is damaged, or refers to
            something that vectors do not need.
    """
    if data.startswith(MAGIC):
        return _load_stream(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES // 2**20} MB")
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(names) != 1:
            raise ValueError("it is a zip archive, but none of PyTorch: it has no data.pkl")
        prefix = names[0].removesuffix("data.pkl")
        with archive.open(names[0]) as stream:
            return _Unpickler(stream, lambda key, _: archive.read(f"{prefix}data/{key}")).load()


def decode(data: bytes, kind: str) -> npt.NDArray[Any]:
    """Return the flat array of little-endian data; `kind` is a type of numpy, or `bfloat16`, which becomes float32."""
    if kind == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("uint32") << 16).view("float32")
    return np.frombuffer(data, kind)


def _load_stream(data: bytes) -> Any:
    """Return the object of a file in the stream format.

    The data of the tensors comes after the object, so that the object is read twice: first with zeros, for their sizes.
    """
    sizes: dict[str, int] = {}

    def note(key: str, size: int) -> bytes:
        sizes[key] = size
        return bytes(size) if size <= MAX_BYTES else b""

    stream = io.BytesIO(data)
    for _ in range(1 + _MACHINE_PICKLES):
        _Unpickler(stream, note).load()
    begin = stream.tell()
    _Unpickler(stream, note).load()
    keys = _Unpickler(stream, note).load()
    content = {}
    for key in keys:
        stream.read(8)
        content[key] = stream.read(sizes.get(key, 0))
    stream.seek(begin)
    return _Unpickler(stream, lambda key, _: content[key]).load()


@dataclass(frozen=True)
class _Storage:
    kind: str


class _Module(dict[str, Any]):
    """Parameters of a pickled torch.nn module by name, for example of a ParameterDict."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, Mapping):
            raise pickle.UnpicklingError("a module has no parameters")
        parameters = state.get("_parameters")
        named = parameters if isinstance(parameters, Mapping) and parameters else state
        self.update({str(name): value for name, value in named.items() if isinstance(value, np.ndarray)})


class _Unpickler(pickle.Unpickler):
    """Unpickler restricted to containers and tensors.

    Args:
        stream: Of the pickle.
        read: Returns the data of a tensor by its key and its size in bytes.
    """

    def __init__(self, stream: Any, read: Callable[[str, int], bytes]) -> None:
        super().__init__(stream)
        self._read = read

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few names that tensors and their containers need.

        Raises:
            pickle.UnpicklingError: the file refers to any other name.
        """
        found: Any = _ALLOWED.get((module, name))
        if module == "torch" and name in _STORAGES:
            found = _Storage(_STORAGES[name])
        if found is None:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which vectors do not need")
        return found

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:
        """Read the data of one tensor, flat.

        Raises:
            pickle.UnpicklingError: the reference is not one to a tensor's data.
        """
        known = isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _Storage)
        if not known or not isinstance(pid[2], str) or not pid[2].isalnum() or not isinstance(pid[4], int):
            raise pickle.UnpicklingError("it refers to something that is no tensor")
        _, storage, key, _, count = pid[:5]
        size = 2 if storage.kind == "bfloat16" else np.dtype(storage.kind).itemsize
        return decode(self._read(key, count * size)[: count * size], storage.kind)


def _rebuild_tensor(
    storage: npt.NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> npt.NDArray[Any]:
    """Rebuild a tensor as torch._utils._rebuild_tensor_v2 does, with bounds checked.

    Raises:
        pickle.UnpicklingError: the tensor reaches beyond its storage.
    """
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride), default=0) < 0 or last >= len(storage):
        raise pickle.UnpicklingError("a tensor reaches beyond its data")
    strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False).copy()


def _rebuild_parameter(tensor: npt.NDArray[Any], *_: Any) -> npt.NDArray[Any]:
    return tensor


def _rebuild_with_state(rebuild: Any, _: Any, arguments: tuple[Any, ...], *__: Any) -> npt.NDArray[Any]:
    if rebuild not in (_rebuild_tensor, _rebuild_parameter):
        raise pickle.UnpicklingError("it refers to something that is no tensor")
    rebuilt: npt.NDArray[Any] = rebuild(*arguments)
    return rebuilt


def _nothing(*_: Any) -> None:
    """Take the place of what says on which device or of which type a tensor was."""


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_with_state,
    ("torch.nn.parameter", "Parameter"): _nothing,
    ("torch", "Tensor"): _nothing,
    ("torch", "Size"): tuple,
    ("torch", "device"): _nothing,
    ("torch.nn.modules.container", "ParameterDict"): _Module,
}
