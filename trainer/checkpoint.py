"""Checkpoints of a training: the vectors and the optimizer's moments, a few kilobytes, with a JSON copy to read."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
LATEST = "latest.npz"


@dataclass(frozen=True)
class State:
    """Where a training stands: `step` steps are done. All arrays are float32, (num_vectors, width)."""

    step: int
    vectors: Array
    first_moment: Array
    second_moment: Array
    evaluations: tuple[float, ...] = ()


def save(folder: Path, state: State, identity: str) -> None:
    """Replace the checkpoint in `folder` in one move, so that a kill leaves the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "latest.partial.npz"
    np.savez(
        partial,
        step=np.int64(state.step),
        vectors=state.vectors,
        first_moment=state.first_moment,
        second_moment=state.second_moment,
        evaluations=np.asarray(state.evaluations, "float64"),
        identity=np.asarray(identity),
    )
    partial.replace(folder / LATEST)
    twin = {"step": state.step, "norms": np.linalg.norm(state.vectors, axis=1).round(4).tolist(), "identity": identity}
    (folder / "latest.json").write_text(json.dumps(twin) + "\n")


def load(folder: Path, identity: str) -> State | None:
    """Load the checkpoint in `folder`; None when there is none that belongs to this configuration.

    A damaged one is left out with a word on stderr: the training starts over, and replaces it.
    """
    path = folder / LATEST
    if not path.is_file():
        return None
    try:
        return _read(path, identity)
    except Exception as error:  # noqa: BLE001 - zip, zlib and NumPy each have their own for damage
        why = f"{type(error).__name__}: {error}"
        print(f"the checkpoint {path} is damaged ({why}); the training starts over", file=sys.stderr, flush=True)
        return None


def _read(path: Path, identity: str) -> State | None:
    with path.open("rb") as file, np.load(file) as stored:
        if str(stored["identity"]) != identity:
            return None
        state = State(
            int(stored["step"]),
            stored["vectors"],
            stored["first_moment"],
            stored["second_moment"],
            tuple(stored["evaluations"].tolist()),
        )
    shapes = {(array.shape, array.dtype.name) for array in (state.vectors, state.first_moment, state.second_moment)}
    if len(shapes) != 1 or state.vectors.ndim != 2 or not np.isfinite(state.vectors).all():
        raise ValueError("its arrays do not fit each other")
    return state
