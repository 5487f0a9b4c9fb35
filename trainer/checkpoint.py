"""Checkpoints of a training: the vectors and the optimizer's moments, a few kilobytes, with a JSON copy to read."""

from __future__ import annotations

import json
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
    """Load the checkpoint in `folder`; None when there is none that belongs to this configuration."""
    path = folder / LATEST
    if not path.is_file():
        return None
    with np.load(path) as stored:
        if str(stored["identity"]) != identity:
            return None
        return State(
            int(stored["step"]),
            stored["vectors"],
            stored["first_moment"],
            stored["second_moment"],
            tuple(stored["evaluations"].tolist()),
        )
