"""Rewrite the graph of a SavedModel so that its bytes depend on the model alone, not on the process that traced it.

TensorFlow numbers functions and custom gradients by a counter of the process, orders functions by a hash of their names
and records how many devices it saw. Here they are numbered from 0 in the order in which they were traced, functions are
sorted by that number, and one CPU is recorded. The trainer's own choice of graph optimizer is left out, too.
"""

from __future__ import annotations

import copy
import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2, saved_model_pb2

_NUMBERED = re.compile(r"(__(?:inference|forward|backward)_\w+_|CustomGradient-)(\d+)")
_LONGEST_NAME = 200
"""Bytes: a longer value is a tensor's content."""


def canonicalize(folder: Path) -> None:
    """Rewrite saved_model.pb and fingerprint.pb of the SavedModel in `folder`; its variables stay as they are."""
    path = folder / "saved_model.pb"
    document = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    numbers = sorted({int(match[2]) for text in _texts(document) if (match := _NUMBERED.fullmatch(text))})
    _rename(document, {number: position for position, number in enumerate(numbers)})
    for meta_graph in document.meta_graphs:
        library = meta_graph.graph_def.library
        library.function.sort(key=lambda function: _order(function.signature.name))
        library.gradient.sort(key=lambda gradient: _order(gradient.function_name))
        library.registered_gradients.sort(key=lambda gradient: _order(gradient.gradient_func))
        for function in library.function:
            _name_captures(function)
        for nodes in (meta_graph.graph_def.node, *(function.node_def for function in library.function)):
            for node in nodes:
                if "config_proto" in node.attr:
                    node.attr["config_proto"].s = _without_process(node.attr["config_proto"].s)
    _replace(path, document.SerializeToString(deterministic=True))
    _write_fingerprint(folder)


def _texts(message: Any) -> Iterator[str]:
    """Yield every string of a message, keys of maps and short values of bytes included."""
    for _, value in message.ListFields():
        parts = [*value.keys(), *value.values()] if isinstance(value, Mapping) else _listed(value)
        for part in parts:
            if hasattr(part, "ListFields"):
                yield from _texts(part)
            elif isinstance(part, str):
                yield part
            elif isinstance(part, bytes) and len(part) <= _LONGEST_NAME:
                yield part.decode("latin-1")


def _rename(message: Any, new: Mapping[int, int]) -> None:
    """Give every numbered name in a message its new number."""
    for field, value in message.ListFields():
        if isinstance(value, Mapping):
            _rename_in_map(value, new)
        elif isinstance(value, (str, bytes)):
            setattr(message, field.name, _renamed(value, new))
        else:
            parts = _listed(value)
            for part in parts:
                if hasattr(part, "ListFields"):
                    _rename(part, new)
            if parts and isinstance(parts[0], (str, bytes)):
                value[:] = [_renamed(part, new) for part in parts]


def _rename_in_map(entries: Any, new: Mapping[int, int]) -> None:
    for key, value in list(entries.items()):
        if hasattr(value, "ListFields"):
            _rename(value, new)
        else:
            entries[key] = _renamed(value, new)
    if all(_renamed(key, new) == key for key in entries):
        return
    # An entry's new name may be another one's old name.
    moved = {_renamed(key, new): copy.deepcopy(value) for key, value in entries.items()}
    entries.clear()
    for key, value in moved.items():
        if hasattr(value, "ListFields"):
            entries[key].CopyFrom(value)
        else:
            entries[key] = value


def _renamed(value: Any, new: Mapping[int, int]) -> Any:
    if isinstance(value, bytes):
        return value if len(value) > _LONGEST_NAME else _renamed(value.decode("latin-1"), new).encode("latin-1")
    match = _NUMBERED.fullmatch(value) if isinstance(value, str) else None
    return f"{match[1]}{new[int(match[2])]}" if match else value


def _listed(value: Any) -> Sequence[Any]:
    """Return the values of a repeated field, or the one value of another."""
    return [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__len__") else list(value)


def _order(name: str) -> tuple[int, str]:
    match = _NUMBERED.fullmatch(name)
    return (int(match[2]) if match else -1, name)


def _name_captures(function: Any) -> None:
    """Name captured variables by their position; TensorFlow names them by the process's counter, for debuggers only."""
    for position, argument in function.arg_attr.items():
        if "_user_specified_name" in argument.attr and argument.attr["_user_specified_name"].s.isdigit():
            argument.attr["_user_specified_name"].s = str(position).encode()


def _without_process(config: bytes) -> bytes:
    """Record in a serialized ConfigProto what a new process on a CPU would: one CPU, and no choice of optimizer."""
    proto = tf.compat.v1.ConfigProto.FromString(config)
    proto.ClearField("graph_options")
    proto.device_count.clear()
    proto.device_count.update({"CPU": 1, "GPU": 0})
    return bytes(proto.SerializeToString(deterministic=True))


def _write_fingerprint(folder: Path) -> None:
    """Write fingerprint.pb anew, with an id that depends on its other values; remove it where this cannot be done.

    Loading does not need it; one of another graph would be wrong.
    """
    path = folder / "fingerprint.pb"
    path.unlink(missing_ok=True)
    try:
        # TensorFlow has no public function that computes one.
        from tensorflow.python.saved_model import fingerprinting_utils

        fingerprinting_utils.write_fingerprint(str(folder))
        fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    except (ImportError, AttributeError, OSError, ValueError):
        path.unlink(missing_ok=True)
        return
    fingerprint.ClearField("uuid")
    digest = hashlib.sha256(fingerprint.SerializeToString(deterministic=True)).digest()
    fingerprint.uuid = str(uuid.UUID(bytes=digest[:16]))
    _replace(path, fingerprint.SerializeToString(deterministic=True))


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.replace(path)
