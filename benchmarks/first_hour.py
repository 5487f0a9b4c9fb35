"""A first hour with the wheel, step by step with its times: from `uv tool install` to pictures that were drawn.

    uv build --wheel
    python -m benchmarks.first_hour FOLDER --wheel dist/conceptry-VERSION-py3-none-any.whl --photos PHOTOS \\
        --weights WEIGHTS

FOLDER is new or empty, and takes 14 GB. Everything runs as a person runs it who has no checkout: the programs that the
wheel installs, a home and a cache of their own, one folder for the concepts. PHOTOS is a folder with photographs of a
cat. They are shown to `tiny`, which says that it cannot draw them, and trained on `sd-v1-4` for a few steps;
`tiny` learns pictures of its own. WEIGHTS is a folder that benchmarks.full_size made: random weights of the real ones'
size, whose digests take the place of the real ones in the installed packages. Prints a table; what each command said
goes to FOLDER/transcript.txt.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.demo.user import draw_images

LIMIT = 3600.0
"""Seconds that a training may take."""
SMALL = "resolution: %d\ntraining: {batch_size: 1, max_steps: %d, held_out: 1}\n"
"""Settings of a training that ends in minutes on a CPU."""


class Hour:
    """A person with a shell in a folder.

    Args:
        folder: Where everything is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.here = folder, folder
        self.rows: list[tuple[str, float]] = []
        self._transcript = folder / "transcript.txt"
        home = folder / "home"
        home.mkdir()
        kept = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("CONCEPTRY_", "DVC_", "GIT_", "HF_", "PREFECT_", "PYTHON", "VIRTUAL_ENV", "XDG_"))
        }  # fmt: skip
        self.environment = kept | {
            "HOME": str(home),
            "PATH": f"{home / '.local/bin'}:{os.environ['PATH']}",
            "COLUMNS": "100",
            "UV_LINK_MODE": "copy",
        }
        for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org"), ("init.defaultBranch", "main")):
            self._call(f"git config --global {key} {shlex.quote(value)}")

    def run(self, command: str, title: str = "", *, expect: int | None = 0) -> str:
        """Run a command of the shell, note its time, and return what it said."""
        begun = time.monotonic()
        done = self._call(command)
        said = done.stdout.decode(errors="replace")
        self._note(command, said, title or command, time.monotonic() - begun)
        if expect is not None and done.returncode != expect:
            sys.exit(f"`{command}` ended with exit code {done.returncode}:\n{said}")
        return said

    def wait(self, title: str, command: str, until: str) -> None:
        """Ask again with a command until its output matches a pattern, and note how long that took.

        Raises:
            TimeoutError: it took an hour.
        """
        begun, said = time.monotonic(), ""
        while not re.search(until, said):
            if time.monotonic() - begun > LIMIT:
                raise TimeoutError(f"{title}: {said}")
            time.sleep(2)
            said = self._call(command).stdout.decode(errors="replace")
        self._note(command, said, title, time.monotonic() - begun)

    @contextmanager
    def running(self, command: str) -> Iterator[None]:
        """Run a command beside the block, and end it as Ctrl-C does."""
        log = self.folder / "up.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                shlex.split(command), cwd=self.here, env=self.environment, stdout=output, stderr=output
            )
            begun = time.monotonic()
            try:
                yield
            finally:
                process.terminate()
                process.wait(60)
                self._note(
                    command, log.read_text(errors="replace"), f"{command}, until it ended", time.monotonic() - begun
                )

    def _call(self, command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", command], cwd=self.here, env=self.environment, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _note(self, command: str, said: str, title: str, seconds: float) -> None:
        self.rows.append((title, seconds))
        print(f"{seconds:8.1f} s  {title}", flush=True)
        with self._transcript.open("a", encoding="utf-8") as file:
            file.write(f"$ {command}    # {seconds:.1f} s\n{said}\n")


def install(hour: Hour, wheel: Path) -> None:
    """Install the wheel and all that it can need."""
    hour.run(
        f'uv tool install --quiet --with-executables-from dvc "conceptry[all] @ {wheel.resolve().as_uri()}"',
        "uv tool install (everything)",
    )
    hour.run("conceptry --version")


def accept_random_weights(hour: Hour, weights: Path) -> None:
    """Put the digests of random weights in place of the real ones in the installed packages."""
    [presets] = hour.folder.glob(
        "home/.local/share/uv/tools/conceptry/lib/python*/site-packages/trainer/base_weights/presets.py"
    )
    text = presets.read_text(encoding="utf-8")
    for file in sorted(weights.iterdir()):
        digest = hashlib.file_digest(file.open("rb"), "sha256").hexdigest()
        text = re.sub(rf'("{re.escape(file.name)}",\s+")[0-9a-f]{{64}}"', rf'\g<1>{digest}"', text)
    presets.write_text(text, encoding="utf-8")


def tiny(hour: Hour) -> None:
    """Teach `tiny` a shape that it can learn."""
    draw_images(hour.folder / "shapes", "teal", "crescent", ("one", "two", "three", "four", "five"), seed=1)
    hour.run('conceptry new night-light --images ../shapes --token "<night-light>" --init circle')
    publish(hour, "night-light")
    hour.wait("night-light is trained, judged and published", "conceptry versions night-light", r"\bv1\b")
    hour.run("conceptry pull night-light@v1 ../night-light")
    hour.run("conceptry show night-light@v1")


def photographs_on_tiny(hour: Hour, photos: Path) -> None:
    """Try photographs on the base model that cannot draw them."""
    hour.run(
        f'conceptry new wrong-cat --images {photos} --token "<wrong-cat>" --init circle --base-model tiny', expect=None
    )


def photographs(hour: Hour, photos: Path, weights: Path, steps: int, side: int) -> None:
    """Train photographs on sd-v1-4."""
    hour.run(f"conceptry base fetch --from {weights}")
    hour.run(f'conceptry new my-cat --images {photos} --token "<my-cat>" --init cat --base-model sd-v1-4')
    spec = hour.here / "concepts" / "my-cat" / "concept.yaml"
    kept = [line for line in spec.read_text().splitlines() if not line.startswith(("resolution:", "training:"))]
    spec.write_text("\n".join(kept) + "\n" + SMALL % (side, steps))
    publish(hour, "my-cat")
    hour.run("conceptry lint")
    hour.run("conceptry plan", expect=None)
    hour.wait(
        f"my-cat is trained for {steps} steps at {side} px, judged and published",
        "conceptry versions my-cat",
        r"\bv1\b",
    )
    hour.run("conceptry pull my-cat@v1 ../my-cat")
    hour.run("conceptry show my-cat@v1")


def publish(hour: Hour, name: str) -> None:
    """Commit a concept; the repository has no origin, so that `up` reads it where it is."""
    commands = f"git add concepts/{name} && git commit --quiet -m 'Add {name}' && dvc push --quiet"
    hour.run(commands, f"git commit and dvc push of {name}")


def main() -> None:
    """Run the hour and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="random weights; without them only `tiny` is tried")
    parser.add_argument("--steps", type=int, default=20, help="steps of the training on sd-v1-4")
    parser.add_argument("--side", type=int, default=256, help="pixels of that training's images")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    hour = Hour(options.folder.resolve())
    install(hour, options.wheel)
    if options.weights:
        accept_random_weights(hour, options.weights)
    hour.run("conceptry init pets --yes")
    hour.here = hour.folder / "pets"
    hour.run("git add . && git commit --quiet -m 'Prepare for concepts'")
    photographs_on_tiny(hour, options.photos.resolve())
    with hour.running("conceptry up"):
        tiny(hour)
        if options.weights:
            photographs(hour, options.photos.resolve(), options.weights.resolve(), options.steps, options.side)
    print(json.dumps([{"step": title, "seconds": round(seconds, 1)} for title, seconds in hour.rows], indent=2))


if __name__ == "__main__":
    main()
