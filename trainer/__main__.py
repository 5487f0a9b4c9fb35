"""Train one concept:

    python -m trainer --records DIR --config FILE --base DIR --output DIR

It reads the TFRecords in --records, learns the placeholder token that --config names, and writes into --output:
learned_embeds.safetensors, text_encoder/ (a SavedModel), samples/, metrics.json, progress.jsonl and checkpoints/.
Started again with the same arguments it goes on from the last checkpoint.

In --base lie the base model's weights; tiny needs none. With a CLIP model in its folder clip/ (config.json and
model.safetensors, as transformers saves one) the samples are scored, too: `clip` in metrics.json.

With --check it trains nothing and writes nothing: exit code 2, with the reason, says what would be refused.

Exit codes: 0 done; 2 the configuration, the records or the base model cannot be used; 3 the training went wrong;
75 interrupted (SIGTERM), start it again to go on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from trainer import training_config as configuration
from trainer.base_weights.presets import locate
from trainer.tensorflow_import import import_tensorflow


def main(arguments: Sequence[str] | None = None, **of_process: Any) -> int:
    """Check the arguments before the seconds that TensorFlow takes to load, then train.

    Args:
        arguments: Of the program; None for those of this process.
        of_process: `stop` and `open_base` of `trainer.run.run`.
    """
    options = read_options(arguments)
    if options.compiled:
        keep_compiled(options.compiled)
    try:
        config = configuration.load(options.config)
        locate(config.base, options.base)
    except (configuration.ConfigError, FileNotFoundError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    import_tensorflow()
    from trainer import run

    if options.check:
        return run.check(config, options.records, options.base)
    places = run.Places(options.records, options.output, options.base, options.released, options.initial)
    return run.run(config, places, unverified=options.unverified, dtype=options.dtype, **of_process)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the program's arguments; None for those of this process. Raises SystemExit, with a word on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=Path, required=True, help="folder of images-*.tfrecord")
    parser.add_argument("--config", type=Path, required=True, help="JSON file that says what to train")
    parser.add_argument("--base", type=Path, help="folder with the base model's weights; tiny needs none")
    parser.add_argument("--output", type=Path, help="folder for what is learned")
    parser.add_argument(
        "--check", action="store_true", help="train nothing; only say whether these pictures can be trained with"
    )
    parser.add_argument(
        "--released",
        type=Path,
        help="vectors of the released version, which the new ones are compared with: a learned_embeds.safetensors that "
        "is named after it, such as v3.safetensors",
    )
    parser.add_argument(
        "--initial",
        type=Path,
        help="vectors to start from instead of the initializer's, a learned_embeds.safetensors; initializer_token then "
        "only says what they are in words",
    )
    parser.add_argument(
        "--unverified", action="store_true", help="take a --base folder whose weights are not the published ones"
    )
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float16", "float32"),
        help="of the frozen weights; without it, what is fastest on this machine. bfloat16 takes two thirds of the "
        "memory, and on a CPU that cannot multiply it half as long again; float16 is for GPUs before Ampere",
    )
    parser.add_argument(
        "--compiled",
        type=Path,
        help="folder for what XLA compiles, of one kind of GPU: the next job takes it from there",
    )
    options = parser.parse_args(arguments)
    if options.output is None and not options.check:
        parser.error("--output is required")
    return options


def keep_compiled(folder: Path) -> None:
    """Have XLA keep what it compiles in a folder, and look there first; before TensorFlow is imported.

    Its files are named by what is compiled. They are of no use to another release, which gets a folder of its own.
    """
    flag = f"--tf_xla_persistent_cache_directory={folder / version('tensorflow')}"
    os.environ["TF_XLA_FLAGS"] = f"{os.environ.get('TF_XLA_FLAGS', '')} {flag}".strip()


def leave(code: int) -> NoReturn:
    """End the process at once, when every file is closed: tearing TensorFlow down takes a second and changes nothing.

    A host of several leaves in the ordinary way, which tells the others that it did not crash.
    """
    if os.environ.get("TF_CONFIG"):
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        # The process that reads them may be gone.
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
