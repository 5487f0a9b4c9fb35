"""python -m benchmarks.sampling --json [--base DIR] [--peers DIR] [--side 256] [--only ours ...] [--keep FILE]

One picture at Stable Diffusion 1.x's full size with random weights, on this machine, each in a process of its
own, one after the other, everything loaded and warm before the clock starts:

- `ours`: trainer.sampling.sampler, DPM-Solver++(2M) at 20 steps, as trainer, Space and handler draw;
- `kerascv`: KerasCV's own `text_to_image` at its default of 50 steps;
- `diffusers_bfloat16`, `diffusers_float32`: its pipeline's loop with the same solver at 20 steps, in --peers, a folder
  for a Python environment that is made when it is missing (pip, 1 GB). Where the CPU does not multiply bfloat16, only
  one of its steps is timed: 20 would take most of an hour;
- `tiny`: the judge's share of right pictures on the captions that the tiny model knows, for DPM-Solver++ at 20 steps
  with and without Karras' noise levels, and for DDIM at 50.

--base is a folder of random weights (benchmarks.full_size makes it: 4.3 GB, a minute). Ratios are peer / ours: larger
than 1 is faster than the peer. `cpu` is the processor's seconds of a step: other work on the machine changes it less.
It wants a quiet machine with 8 GB free, and takes 10 to 15 minutes; with --keep the figures of earlier parts are read
from a file and added to, so that it can be run in pieces.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PEERS = ("torch==2.13.0", "diffusers==0.42.1", "transformers")
STEPS, KERASCV_STEPS = 20, 50
PROMPT = "a photo of a cat on a windowsill"
CONTENDERS = ("ours", "kerascv", "diffusers_float32", "diffusers_bfloat16", "tiny")
PATIENCE = 500
"""Seconds after which a peer is given up: a step that is emulated may take minutes."""


def ours(base_dir: Path, side: int) -> dict[str, Any]:
    """Seconds of a picture with our sampler; the weights are not the published ones, so their digests are not asked."""
    from trainer.base_weights.base_model import BaseModel
    from trainer.sampling.sampler import Pipeline

    began = time.perf_counter()
    base = BaseModel("sd-v1-4", base_dir, unverified=True)
    tokenizer = base.tokenizer()
    encoder = base.text_encoder(tokenizer.vocabulary)

    def encode(tokens: Any) -> Any:
        return encoder.encode_with_placeholders(tokens, encoder.table[:1])

    pipeline = Pipeline(base, tokenizer, encode, resolution=side)
    loaded = time.perf_counter()
    pipeline.warm_up()
    warm = time.perf_counter()
    seconds, steps, cpu = _timed(lambda tell: pipeline.draw(PROMPT, steps=STEPS, seed=1, callback=tell))
    return {
        "seconds": seconds, "step": statistics.median(steps), "cpu": statistics.median(cpu),
        "load": loaded - began, "warm_up": warm - loaded,
        "dtype": base.dtype, "steps": STEPS, "peak_gb": _peak_gb(),
    }  # fmt: skip


def kerascv(base_dir: Path, side: int, steps: int) -> dict[str, Any]:
    """Seconds of a picture with KerasCV's own StableDiffusion, its parts given the same files."""
    import keras_cv
    from keras_cv.src.models.stable_diffusion import stable_diffusion as theirs
    from keras_cv.src.models.stable_diffusion.clip_tokenizer import SimpleTokenizer

    model = theirs.StableDiffusion(side, side, jit_compile=False)
    model._tokenizer = SimpleTokenizer(bpe_path=str(base_dir / "bpe_simple_vocab_16e6.txt.gz"))
    # Random as they are made: the time does not depend on the numbers, and nothing may be downloaded.
    model._text_encoder = theirs.TextEncoder(77, download_weights=False)
    model._diffusion_model = theirs.DiffusionModel(side, side, 77, download_weights=False)
    model._decoder = theirs.Decoder(side, side, download_weights=False)
    model.text_to_image(PROMPT, num_steps=1, seed=1)
    one, _, one_cpu = _timed(lambda _: model.text_to_image(PROMPT, num_steps=1, seed=1))
    seconds, _, cpu = _timed(lambda _: model.text_to_image(PROMPT, num_steps=steps, seed=1))
    return {
        "seconds": seconds, "step": (seconds - one) / (steps - 1), "cpu": (cpu[-1] - one_cpu[-1]) / (steps - 1),
        "steps": steps, "keras_cv": keras_cv.__version__,
    }  # fmt: skip


def diffusers(peers: Path, side: int, dtype: str, *, whole: bool) -> dict[str, Any]:
    """Seconds with diffusers, in an environment of its own."""
    python = peers / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(peers)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS], check=True, stdout=sys.stderr)
    script = Path(__file__).with_name("peers") / "diffusers_sampling.py"
    command = [str(python), str(script), str(side), str(STEPS), dtype, str(int(whole))]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"seconds": None, "step": None, "given_up_after": PATIENCE, "dtype": dtype}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def tiny() -> dict[str, Any]:
    """The share of right pictures, eight of each caption that the tiny model was trained on, by solver and steps."""
    import numpy as np

    from benchmarks import judge
    from trainer.sampling.sampler import Pipeline
    from trainer.sampling.solver import Solver
    from trainer.tiny import world

    network, pipeline = judge.load(), Pipeline.load("tiny")
    runs: tuple[tuple[Solver, int], ...] = (("dpm++", 20), ("dpm++karras", 20), ("ddim", 50))
    right: dict[str, float] = {}
    for solver, steps in runs:
        shares = []
        for pair in world.CAPTIONED:
            prompt = f"a photo of {' '.join(pair)}"
            drawn = pipeline.draw(prompt, num_images=8, seed=1000, steps=steps, solver=solver)
            shares.append(judge.right(network, drawn, *pair)["both"])
        right[f"{solver}_{steps}"] = round(float(np.mean(shares)), 4)
    return {"right": right, "pictures": 8 * len(world.CAPTIONED)}


def _timed(run: Any) -> tuple[float, list[float], list[float]]:
    """Seconds in all, of each step that was told, and the processor's of each; the last one of these is all of them."""
    began, processor = time.perf_counter(), time.process_time()
    told = [(began, processor)]
    run(lambda _step, _of: told.append((time.perf_counter(), time.process_time())))
    seconds, cpu = time.perf_counter() - began, time.process_time() - processor
    steps = [[now[part] - last[part] for last, now in itertools.pairwise(told)] for part in (0, 1)]
    return seconds, steps[0], steps[1] or [cpu]


def _peak_gb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _apart(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One of ours in a process of its own, so that its memory is gone before the next begins."""
    arguments = [
        "--one", name, "--base", str(options.base), "--side", str(options.side), "--kerascv-steps",
        str(options.kerascv_steps),
    ]  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.sampling", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the contenders one after the other."""
    from trainer.base_weights.precision import storage

    found: dict[str, Any] = {}
    if options.keep and options.keep.is_file():
        found = json.loads(options.keep.read_text(encoding="utf-8"))
    for name in ("ours", "kerascv", "tiny"):
        if name in options.only:
            found[name] = _apart(name, options)
            print(name, found[name], file=sys.stderr, flush=True)
    for dtype in ("float32", "bfloat16"):
        name = f"diffusers_{dtype}"
        if name in options.only:
            whole = dtype == "float32" or storage("sd-v1-4") == "bfloat16"
            found[name] = diffusers(options.peers, options.side, dtype, whole=whole)
            print(name, found[name], file=sys.stderr, flush=True)
    if options.keep:
        options.keep.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """How many times faster ours is than each peer: whole pictures, and guided steps."""
    if "ours" not in found:
        return {}
    named = {}
    for peer in ("kerascv", "diffusers_float32", "diffusers_bfloat16"):
        for what, key in (("end_to_end", "seconds"), ("guided_step", "step"), ("cpu_of_a_guided_step", "cpu")):
            if found.get(peer, {}).get(key) is not None:
                named[f"{what}_of_{peer}"] = round(found[peer][key] / found["ours"][key], 2)
    return named


def _machine() -> dict[str, Any]:
    from trainer.base_weights.precision import cpu_features

    multiplies = sorted({"avx2", "avx512f", "avx512_bf16", "amx_bf16"} & cpu_features())
    return {"cores": os.cpu_count(), "cpu_features": multiplies}


def main() -> None:
    """Measure and print one JSON object; progress goes to stderr."""
    cache = Path(tempfile.gettempdir()) / "conceptry-bench"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--base", type=Path, default=cache / "base", help="folder of random weights")
    parser.add_argument("--peers", type=Path, default=cache / "peers", help="folder of the peers' environment")
    parser.add_argument("--side", type=int, default=256, help="width and height in pixels")
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=CONTENDERS, help="run these alone")
    parser.add_argument("--keep", type=Path, help="file with the figures of earlier parts, to read and to write")
    parser.add_argument("--kerascv-steps", type=int, default=KERASCV_STEPS, help="steps of KerasCV's picture")
    parser.add_argument("--one", choices=("ours", "kerascv", "tiny"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kinds = {
            "ours": lambda: ours(options.base, options.side),
            "kerascv": lambda: kerascv(options.base, options.side, options.kerascv_steps),
            "tiny": tiny,
        }
        print(json.dumps(kinds[options.one]()))
        return
    if {"ours", "kerascv"} & set(options.only) and not (options.base / "kcv_diffusion_model.h5").is_file():
        parser.error(
            f"there are no weights in {options.base}; make them: python -m benchmarks.full_size {options.base}"
        )
    found = measure(options)
    print(json.dumps({"ratios": ratios(found), **found, "side": options.side, "machine": _machine()}, indent=2))


if __name__ == "__main__":
    main()
