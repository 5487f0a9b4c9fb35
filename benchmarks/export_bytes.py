"""What does a new version cost to push? Export a full-size encoder twice with other vectors and compare the files.

    python -m benchmarks.full_size BASE --merges bpe_simple_vocab_16e6.txt.gz
    python -m benchmarks.export_bytes --base BASE --json

About 2 minutes on 2 cores. Only files of a few kilobytes may differ; a hub that knows the others gets no byte of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from trainer import export


def files(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and sha256 of every file."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found[path.relative_to(folder).as_posix()] = (path.stat().st_size, digest)
    return found


def main() -> None:
    """Export twice and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--base", type=Path, help="folder that benchmarks.full_size wrote; without it, tiny")
    parser.add_argument("--vectors", type=int, default=1)
    options = parser.parse_args()
    base_model, width = ("sd-v1-4", 768) if options.base else ("tiny", 96)
    versions, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for version in range(2):
            place = Path(folder, str(version))
            place.mkdir()
            rows = np.random.default_rng(version).standard_normal((options.vectors, width), "float32")
            embeds = place / "learned_embeds.safetensors"
            export.learned_embeds(embeds, "<x>", rows)
            started = time.monotonic()
            export.finish(export.start(base_model, options.base, embeds, place / "text_encoder"))
            seconds.append(round(time.monotonic() - started, 1))
            versions.append(files(place))
    old, new = versions
    changed = {name: size for name, (size, digest) in new.items() if old.get(name, (0, ""))[1] != digest}
    result: dict[str, Any] = {
        "changed": changed,
        "bytes_changed": sum(changed.values()),
        "bytes_in_all": sum(size for size, _ in new.values()),
        "same": {name: size for name, (size, _) in new.items() if name not in changed},
        "seconds": seconds,
        "settings": {"base_model": base_model, "vectors": options.vectors},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
