"""How long from the start of `python -m trainer` to the end of its first step, at full size, weights on disk?

    python -m benchmarks.full_size BASE --merges bpe_simple_vocab_16e6.txt.gz
    python -m benchmarks.start_up --base BASE --json

Two minutes on 2 cores; at most 30 s are wanted at 256 px and batch 1 (building KerasCV's models and tracing them took
45 to 60). The phases are the trainer's own; `cpu` are the processor's seconds, which a busy machine changes least.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from trainer.data import records


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


def main() -> None:
    """Start a training, stop it after its first step, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--base", type=Path, help="folder that benchmarks.full_size wrote; without it, tiny")
    parser.add_argument("--side", type=int, help="pixels; 256 at full size, 64 for tiny")
    parser.add_argument("--pictures", type=int, default=2)
    options = parser.parse_args()
    side = options.side or (256 if options.base else 64)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder, side, options.pictures)
        config: dict[str, Any] = {
            "placeholder_token": "<x>",
            "initializer_token": "circle",
            "base_model": "sd-v1-4" if options.base else "tiny",
            "resolution": side,
            "training": {"max_steps": 1, "batch_size": 1, "held_out": 0, "early_stopping": False},
        }
        (folder / "config.json").write_text(json.dumps(config))
        command = [sys.executable, "-m", "trainer", "--records", name, "--config", f"{name}/config.json"]
        command += ["--output", f"{name}/output", "--unverified"]
        started = time.monotonic()
        trainer = subprocess.Popen(
            [*command, *(["--base", str(options.base)] if options.base else [])], stdout=subprocess.PIPE, text=True
        )
        lines: list[dict[str, Any]] = []
        for line in trainer.stdout or ():
            lines.append(json.loads(line) | {"at": round(time.monotonic() - started, 2)})
            if "step" in lines[-1]:
                break
        process = psutil.Process(trainer.pid)
        times, memory = process.cpu_times(), process.memory_info().rss
        trainer.kill()
        trainer.communicate()
    result = {
        "seconds": lines[-1]["at"],
        "cpu": round(times.user + times.system, 2),
        "resident_gb": round(memory / 1e9, 2),
        "lines": lines,
        "settings": {**config, "pictures": options.pictures},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
