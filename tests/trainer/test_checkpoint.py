"""A checkpoint that was damaged, for example by a full disk, is dropped with a word, and the training starts over."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainer.checkpoint import LATEST, State, load, save

IDENTITY = "0123456789abcdef"


def state(step: int = 7) -> State:
    vectors = np.full((2, 8), 0.5, "float32")
    return State(step, vectors, vectors * 0, vectors * 0, (0.25, 0.125))


def write_arrays(path: Path) -> None:
    arrays = {"vectors": np.zeros((1, 3), "float32"), "first_moment": np.zeros(2), "second_moment": np.zeros(2)}
    np.savez(path, step=np.int64(3), evaluations=np.zeros(1), identity=np.asarray(IDENTITY), **arrays)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 4, len(data) // 2):
        data[at] ^= 0xFF
    path.write_bytes(data)


def test_what_was_saved_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(tmp_path, IDENTITY) is None
    save(tmp_path, state(), IDENTITY)
    loaded = load(tmp_path, IDENTITY)
    assert loaded is not None
    assert (loaded.step, loaded.evaluations) == (7, (0.25, 0.125))
    assert load(tmp_path, "another") is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK"),
        lambda path: path.write_bytes(b"\0" * 4096),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: np.savez(path, step=np.int64(3)),
        flip,
        write_arrays,
    ],
)
def test_a_damaged_one_is_dropped_and_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    save(tmp_path, state(), IDENTITY)
    damage(tmp_path / LATEST)
    assert load(tmp_path, IDENTITY) is None
    assert "is damaged" in capsys.readouterr().err
    save(tmp_path, state(8), IDENTITY)
    assert (load(tmp_path, IDENTITY) or state()).step == 8
