"""How long from the start of `python -m trainer` to the end of its first step, at full size, weights on disk?

    python -m benchmarks.full_size BASE --merges bpe_simple_vocab_16e6.txt.gz
    python -m benchmarks.start_up --base BASE --json
    python -m benchmarks.start_up --base BASE --json --served 2     the second one in the process of the first

Two minutes on 2 cores; at most 30 s are wanted at 256 px and batch 1 (building KerasCV's models and tracing them took
45 to 60). The phases are the trainer's own; `cpu` are the processor's seconds, which a busy machine changes least.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from trainer.data import records
from trainer.server_client import begin_training
from trainer.server_folder import Request, ServerFolder


def write_records(folder: Path, side: int, count: int) -> None:
    """Pictures of noise: what is in them does not matter here."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (side, side, 3), "uint8")).save(buffer, "PNG")
        png = buffer.getvalue()
        rows.append(records.Record(png, side, side, hashlib.md5(png).hexdigest(), f"{index}.png"))
    records.write(folder / records.SHARD, rows)


def first_lines(lines: Iterable[str], started: float, event: str = "") -> list[dict[str, Any]]:
    """Return the trainer's lines until an event, or else its first step, each with when it came."""
    found: list[dict[str, Any]] = []
    for line in lines:
        found.append(json.loads(line) | {"at": round(time.monotonic() - started, 2)})
        if found[-1].get("event") == event if event else "step" in found[-1]:
            break
    return found


def alone(arguments: Sequence[str]) -> dict[str, Any]:
    """Start a training in a process of its own, and stop it after its first step."""
    started = time.monotonic()
    trainer = subprocess.Popen(
        [sys.executable, "-m", "trainer", *arguments], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    )
    lines = first_lines(trainer.stdout or (), started)
    process = psutil.Process(trainer.pid)
    times, memory = process.cpu_times(), process.memory_info().rss
    trainer.kill()
    trainer.communicate()
    cpu = round(times.user + times.system, 2)
    return {"seconds": lines[-1]["at"], "cpu": cpu, "resident_gb": round(memory / 1e9, 2), "lines": lines}


def served(folder: ServerFolder, arguments: Sequence[str]) -> dict[str, Any]:
    """Start a training in the training server of a folder, and stop it when it has begun its first step.

    `seconds` are those until then, `stopped` those until that step was done.
    """
    started = time.monotonic()
    read, write = os.pipe()
    with os.fdopen(read) as output, os.fdopen(write, "wb") as written, Path(os.devnull).open("wb") as nowhere:
        request = Request("", tuple(arguments))
        training = begin_training(folder, 0, 600.0, request, (written.fileno(), nowhere.fileno()), os.environ)
        written.close()
        lines = first_lines(output, started, "start")
        training.stop(300.0)
        training.close()
    return {"seconds": lines[-1]["at"], "stopped": round(time.monotonic() - started, 2), "lines": lines}


def main() -> None:
    """Start trainings, stop each after its first step, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--base", type=Path, help="folder that benchmarks.full_size wrote; without it, tiny")
    parser.add_argument("--side", type=int, help="pixels; 256 at full size, 64 for tiny")
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--served", type=int, default=0, help="so many trainings in one training server, instead")
    options = parser.parse_args()
    side = options.side or (256 if options.base else 64)
    config: dict[str, Any] = {
        "placeholder_token": "<x>",
        "initializer_token": "circle",
        "base_model": "sd-v1-4" if options.base else "tiny",
        "resolution": side,
        "training": {
            "max_steps": 1 if not options.served else 1000,
            "batch_size": 1,
            "held_out": 0,
            "early_stopping": False,
        },
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder, side, options.pictures)
        (folder / "config.json").write_text(json.dumps(config))
        arguments = ["--records", name, "--config", f"{name}/config.json", "--unverified"]
        arguments += ["--base", str(options.base)] if options.base else []
        if options.served:
            servers = ServerFolder(folder / "servers")
            servers.create()
            with servers.own():
                trainings = [
                    served(servers, [*arguments, "--output", f"{name}/output-{number}"])
                    for number in range(options.served)
                ]
            result: dict[str, Any] = {"trainings": trainings}
        else:
            result = alone([*arguments, "--output", f"{name}/output"])
    print(
        json.dumps({**result, "settings": {**config, "pictures": options.pictures}, "load": os.getloadavg()}, indent=2)
    )


if __name__ == "__main__":
    main()
