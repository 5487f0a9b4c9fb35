"""Trials of variants on the six concepts of benchmarks.tiny_inversion, printed as one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.tiny_inversion import CONCEPTS, SEEDS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Pair = tuple[str, str]
"""Colour and shape."""
Variant = TypeVar("Variant")
Row = TypeVar("Row", bound="DataclassInstance")


def read_options(description: str | None) -> argparse.Namespace:
    """Read `--json`, `--seeds` and `--concepts`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="seeds of pictures and trainings")
    parser.add_argument("--concepts", type=int, default=len(CONCEPTS), help="how many of the six concepts")
    return parser.parse_args()


def compare(
    options: argparse.Namespace,
    variants: Sequence[Variant],
    trial: Callable[[Pair, int, Variant], Row],
    summary: Callable[[list[Row]], dict[str, Any]],
) -> None:
    """Run a trial of each concept, seed and variant, and print summary and rows; each row goes to stderr at once."""
    rows = []
    for seed in options.seeds:
        for colour, shape, _ in CONCEPTS[: options.concepts]:
            for variant in variants:
                rows.append(trial((colour, shape), seed, variant))
                print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps({"summary": summary(rows), "rows": [asdict(row) for row in rows]}, indent=2))
