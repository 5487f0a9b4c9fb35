"""Reader of learned vectors in the formats of other tools, without PyTorch and without executing pickled code.

    safetensors      diffusers: a tensor named after its token, or one for each vector (`<x>`, `<x>_1`); web UIs, kohya:
                     `emb_params`; in float64, float32, float16 or bfloat16
    PyTorch          diffusers' learned_embeds.bin: {token: tensor}; web UIs' x.pt: {"string_to_param": {"*": tensor},
                     "name": token}; embeddings.pt of the original textual_inversion: the same with a ParameterDict
    a folder         a repo of the sd-concepts-library: learned_embeds.bin, token_identifier.txt, type_of_concept.txt,
                     concept_images/

The content says which one it is, since endings are often wrong.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from conceptry.errors import ConceptryError
from tasks.embeds.file_kinds import HEAD, is_safetensors, kind_of_start, kind_of_tensors
from tasks.embeds.torch_file import MAGIC, MAX_BYTES, decode, load_torch
from trainer.metrics import METRICS_FILE, ImportSource, TrainingMetrics, write_metrics

NAMES = ("learned_embeds.safetensors", "learned_embeds.bin", "learned_embeds.pt", "embeddings.pt")
_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_UNNAMED = frozenset({"*", "emb_params"})
_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16"}
"""Types of a safetensors file that vectors have, and what `decode` calls them."""
_FURTHER = re.compile(r"_([1-9][0-9]?)")


@dataclass(frozen=True)
class Embeds:
    """Content of a file or folder of learned vectors.

    `rows` is float32 (num_vectors, width). `token` is as the file names it, None when it does not.
    """

    file: Path
    rows: npt.NDArray[np.float32]
    token: str | None
    learnable_property: Literal["object", "style"] = "object"
    images: tuple[Path, ...] = ()

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


def is_embeds_folder(folder: Path) -> bool:
    """Whether a folder holds a file of learned vectors by its name, as a repo of the sd-concepts-library does."""
    return any((folder / name).is_file() for name in NAMES)


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
        with file.open("rb") as stream:
            start = stream.read(HEAD)
        large = file.stat().st_size > MAX_BYTES
        if large or not (is_safetensors(start) or start.startswith((b"PK", MAGIC))):
            kind = kind_of_start(start)
            size = f"is larger than {MAX_BYTES // 2**20} MB, and learned vectors take kilobytes"
            raise ValueError(f"it is {kind}" if kind else size if large else "it is neither of PyTorch nor safetensors")
        token, tensors = _tensors(file.read_bytes())
        name, rows = _one_table(tensors)
    except _UNREADABLE as error:
        what = f"cannot be read as learned vectors: {error}"
        step = "pass the embedding of one token, as diffusers, a web UI or the original textual_inversion saved it"
        raise ConceptryError(what, file=str(file), next_step=step) from error
    return token or (None if name in _UNNAMED else name), rows


_UNREADABLE = (
    OSError, ValueError, SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError, EOFError, TypeError,
    AttributeError, IndexError, OverflowError, NotImplementedError, RuntimeError,
)  # fmt: skip
"""What the readers raise on files that are damaged, or that mean harm."""


def _tensors(data: bytes) -> tuple[str | None, dict[str, npt.NDArray[Any]]]:
    """Return the token that a file names apart from its tensors, and its tensors by name.

    Raises:
        ValueError: it holds something else than learned vectors; the message says what.
    """
    if is_safetensors(data):
        found = dict(deserialize(data))  # type: ignore[no-untyped-call]
        _refuse_others(found)
        types = {str(one["dtype"]) for one in found.values()} - set(_KINDS)
        if types:
            raise ValueError(f"its tensors are {', '.join(sorted(types))}, not floating-point numbers")
        return None, {
            name: decode(bytes(one["data"]), _KINDS[one["dtype"]]).reshape(one["shape"]) for name, one in found.items()
        }
    loaded, token = load_torch(data), None
    if isinstance(loaded, Mapping) and isinstance(loaded.get("string_to_param"), Mapping):
        named = loaded.get("name")
        token = named.strip() or None if isinstance(named, str) else None
        loaded = loaded["string_to_param"]
    if not isinstance(loaded, Mapping):
        raise ValueError(f"it holds a {type(loaded).__name__}, not tensors by name")
    _refuse_others(loaded)
    return token, {str(key): value for key, value in loaded.items() if isinstance(value, np.ndarray)}


def _refuse_others(names: Mapping[Any, Any]) -> None:
    kind = kind_of_tensors(map(str, names))
    if kind is not None:
        raise ValueError(f"it is {kind}")


def _one_table(tensors: Mapping[str, npt.NDArray[Any]]) -> tuple[str, npt.NDArray[np.float32]]:
    """Return the name and the vectors of one token, float32 (num_vectors, width).

    Raises:
        ValueError: they are of several tokens, or are no vectors.
    """
    if not tensors:
        raise ValueError("it holds no tensor")
    first = min(tensors, key=len)
    further = [_FURTHER.fullmatch(name.removeprefix(first)) for name in tensors if name != first]
    if any(match is None for match in further):
        raise ValueError(f"it holds {len(tensors)} tensors ({', '.join(sorted(tensors)[:5])}), not those of one token")
    # diffusers also saves the vectors of one token one by one: <x>, <x>_1, <x>_2.
    order = [first, *(name for _, name in sorted((int(match[1]), first + match[0]) for match in further if match))]
    rows = np.concatenate([np.atleast_2d(np.asarray(tensors[name], "float32")) for name in order])
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise ValueError(f"{first!r} of shape {tensors[first].shape} is no table of vectors")
    return first, rows


def _text(file: Path) -> str | None:
    return file.read_text("utf-8", "replace").strip() or None if file.is_file() else None
