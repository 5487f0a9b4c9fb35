"""Reader of learned vectors in the formats of other tools, without PyTorch and without executing pickled code.

    learned_embeds.safetensors    diffusers: one tensor, named after its token; web UIs: one tensor `emb_params`
    learned_embeds.bin, x.pt      PyTorch's zip archive: {token: tensor}, or {"string_to_param": {"*": tensor}}
    a folder                      a repo of the sd-concepts-library: learned_embeds.bin, token_identifier.txt,
                                  type_of_concept.txt, concept_images/

A pickle can call any function by name. This reader allows the names that a tensor needs and refuses every other one.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from conceptry.errors import ConceptryError
from trainer.metrics import METRICS_FILE, ImportSource, TrainingMetrics, write_metrics

NAMES = ("learned_embeds.safetensors", "learned_embeds.bin", "learned_embeds.pt")
BASE_MODEL_OF_WIDTH = {96: "tiny", 768: "sd-v1-4"}
MAX_BYTES = 64 * 2**20
_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_UNNAMED = frozenset({"*", "emb_params"})


@dataclass(frozen=True)
class Embeds:
    """Content of a file or folder of learned vectors.

    `rows` is float32 (num_vectors, width). `token` is None when the file does not name it.
    """

    file: Path
    rows: npt.NDArray[np.float32]
    token: str | None
    learnable_property: Literal["object", "style"] = "object"
    images: tuple[Path, ...] = ()


def read_embeds(source: Path) -> Embeds:
    """Read a file of learned vectors, or a folder of the sd-concepts-library with such a file.

    Raises:
        ConceptryError: the file or folder holds no vectors that can be read; the message says what to do.
    """
    if not source.is_dir():
        token, rows = _read_file(source)
        return Embeds(source, rows, token)
    file = next((source / name for name in NAMES if (source / name).is_file()), None)
    if file is None:
        raise ConceptryError(f"holds none of {', '.join(NAMES)}", file=str(source), next_step="pass the file itself")
    token, rows = _read_file(file)
    folder = source / "concept_images"
    images = (
        sorted(path for path in folder.glob("*") if path.suffix.lower() in _IMAGE_SUFFIXES) if folder.is_dir() else []
    )
    kind = _text(source / "type_of_concept.txt")
    identifier = _text(source / "token_identifier.txt")
    return Embeds(file, rows, identifier or token, "style" if kind == "style" else "object", tuple(images))


def write_imported_metrics(folder: Path, base_model: str, *, source: str, sha256: str) -> None:
    """Write the metrics.json of imported vectors: their source and its sha256, without any figures."""
    imported = ImportSource(source=source, sha256=sha256)
    metrics = TrainingMetrics(base_model=base_model, stopped="imported", imported=imported)
    write_metrics(folder / METRICS_FILE, metrics)


def _read_file(file: Path) -> tuple[str | None, npt.NDArray[np.float32]]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES // 2**20} MB: learned vectors take kilobytes")
        tensors = load_file(file) if file.suffix == ".safetensors" else _tensors(_load_torch(file))
        if len(tensors) != 1:
            raise ValueError(f"holds {len(tensors)} tensors ({', '.join(sorted(tensors)[:5])}), not one")
        ((name, tensor),) = tensors.items()
        rows = np.atleast_2d(np.asarray(tensor, "float32"))
        if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
            raise ValueError(f"{name!r} of shape {tensor.shape} is no table of vectors")
    except (OSError, ValueError, SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError) as error:
        what = f"cannot be read as learned vectors: {error}"
        raise ConceptryError(what, file=str(file), next_step="save it as safetensors, one tensor a file") from error
    return (None if name in _UNNAMED else name), rows


def _tensors(loaded: Any) -> dict[str, npt.NDArray[Any]]:
    if isinstance(loaded, Mapping) and isinstance(loaded.get("string_to_param"), Mapping):
        loaded = loaded["string_to_param"]
    if not isinstance(loaded, Mapping):
        raise ValueError(f"it holds a {type(loaded).__name__}, not tensors by name")
    return {str(key): value for key, value in loaded.items() if isinstance(value, np.ndarray)}


def _load_torch(file: Path) -> Any:
    if not zipfile.is_zipfile(file):
        raise ValueError("it is no archive that PyTorch 1.6 or later wrote")
    with zipfile.ZipFile(file) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES // 2**20} MB")
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("it has no data.pkl")
        with archive.open(names[0]) as stream:
            return _Unpickler(stream, archive, names[0].removesuffix("data.pkl")).load()


@dataclass(frozen=True)
class _Storage:
    dtype: str


_STORAGES = {"FloatStorage": "float32", "HalfStorage": "float16", "DoubleStorage": "float64", "BFloat16Storage": "bf16"}


class _Unpickler(pickle.Unpickler):
    """Unpickler restricted to dictionaries and tensors."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(stream)
        self._archive, self._prefix = archive, prefix

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few names that a tensor needs.

        Raises:
            pickle.UnpicklingError: the file refers to any other name.
        """
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        found: Callable[..., Any] | _Storage | None = known.get((module, name))
        if module == "torch" and name in _STORAGES:
            found = _Storage(_STORAGES[name])
        if found is None:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which vectors do not need")
        return found

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:
        """Read the data of one tensor, flat, from the archive; bfloat16 becomes float32.

        Raises:
            pickle.UnpicklingError: the reference is not one to a tensor's data.
        """
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not isinstance(key, str) or not key.isalnum():
            raise pickle.UnpicklingError("it refers to something that is no tensor")
        data = self._archive.read(f"{self._prefix}data/{key}")
        if storage.dtype == "bf16":
            values = (np.frombuffer(data, "<u2").astype("uint32") << 16).view("float32")
        else:
            values = np.frombuffer(data, np.dtype(storage.dtype).newbyteorder("<"))
        return values[:count]


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


def _text(file: Path) -> str | None:
    return file.read_text("utf-8", "replace").strip() or None if file.is_file() else None
