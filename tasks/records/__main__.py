"""Command that writes a records folder, also a stage of dvc.yaml:

    python -m tasks.records --images concepts/my-cat/images --output records --resolution 64
    python -m tasks.records --concept concepts/my-cat --output records --config config.json

The second form takes the resolution from concept.yaml and also writes the configuration that `python -m trainer` reads.
The exit code is 2, with one message, if the input has errors.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from conceptry.concept import ConceptSpec, load_spec
from conceptry.errors import ConceptryError
from conceptry.fingerprint import trainer_config
from tasks.base_entries import read_entries
from tasks.base_models import base_of
from tasks.records import build_records


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except (ConceptryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks.records", description="Turn images into TFRecords.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of images, with captions as .txt")
    source.add_argument("--concept", type=Path, metavar="DIR", help="a concept's folder: concept.yaml and images/")
    parser.add_argument("--output", type=Path, metavar="DIR", required=True, help="records folder to write")
    parser.add_argument("--resolution", type=int, metavar="PIXELS", help="shorter side of the images")
    parser.add_argument(
        "--mask", choices=("alpha",), help="store alpha channels as masks; default: as concept.yaml says"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="with --concept: the trainer's configuration")
    return parser


def _run(options: argparse.Namespace) -> None:
    images, resolution, mask = options.images, options.resolution, options.mask
    if options.concept:
        path = options.concept / "concept.yaml"
        spec = load_spec(path.read_text("utf-8"), str(path), read_entries(options.concept.absolute().parents[1]))
        images, resolution = options.concept / "images", resolution or _resolution(spec)
        mask = mask or spec.training.mask
        if options.config:
            options.config.parent.mkdir(parents=True, exist_ok=True)
            options.config.write_text(json.dumps(trainer_config(spec), indent=2) + "\n", encoding="utf-8")
    elif options.config or not resolution:
        _parser().error("--images needs --resolution, and --config needs --concept")
    report = build_records(images, options.output, resolution, mask=mask)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{report.count} pictures in {options.output}")


def _resolution(spec: ConceptSpec) -> int:
    return spec.resolution or base_of(spec).resolution


if __name__ == "__main__":
    sys.exit(main())
