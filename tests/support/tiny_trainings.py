"""Short trainings of `tiny`, and what they leave, to compare with each other."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.data import records
from trainer.tiny import world

# Rejected at once, so that the judge needs few rows.
GATE = {"min_improvement": 0.9}
CRESCENT: dict[str, Any] = {
    "placeholder_token": "<teal-crescent>", "initializer_token": "crescent", "base_model": "tiny", "num_vectors": 2,
    "training": {"max_steps": 4, "seed": 3, "mask": "alpha"}, "samples": 1, "resolution": 128,
    "gate": GATE,
}  # fmt: skip
HEART: dict[str, Any] = {
    "placeholder_token": "<red-heart>", "initializer_token": "heart", "base_model": "tiny",
    "training": {"max_steps": 6}, "samples": 2, "gate": GATE,
}  # fmt: skip


def write_crescents(folder: Path) -> None:
    """Write the records of four pictures with masks."""
    rng, rows = np.random.default_rng(11), []
    folder.mkdir(parents=True)
    for index in range(4):
        drawn, mask = io.BytesIO(), io.BytesIO()
        picture = world.draw("teal", "crescent", rng)
        picture.save(drawn, "PNG")
        subject = np.asarray(picture, int).max(axis=2) < 200
        Image.fromarray((subject * 255).astype("uint8")).save(mask, "PNG")
        md5 = hashlib.md5(drawn.getvalue()).hexdigest()
        rows.append(records.Record(drawn.getvalue(), 64, 64, md5, f"{index}.png", mask_png=mask.getvalue()))
    records.write(folder / records.SHARD, rows)


def digests(output: Path) -> dict[str, str]:
    """The digests of what a training made, but for times."""
    found = {}
    for path in sorted(output.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if path.name == "metrics.json":
            content = json.dumps({**json.loads(content), "seconds": None}).encode()
        elif path.suffix == ".jsonl":
            lines = [json.loads(line) for line in content.splitlines()]
            times = ("seconds", "steps_per_second")
            content = json.dumps([{key: line[key] for key in line if key not in times} for line in lines]).encode()
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                content = b"".join(arrays[name].tobytes() for name in sorted(arrays))
        if path.is_file() and path.parent.name != "tensorboard":
            found[path.relative_to(output).as_posix()] = hashlib.sha256(content).hexdigest()
    return found
