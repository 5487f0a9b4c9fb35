r"""Record what a release of DVC writes, for test_dvc_releases.py.

    uv venv /tmp/dvc2 && uv pip install --python /tmp/dvc2 \
        "dvc==2.58.2" "pathspec<0.12" "fsspec<2023.12" "setuptools<70"
    python -m tests.tasks.dvc_worlds --dvc /tmp/dvc2/bin/dvc --into tests/tasks/dvc_written/2.58.json

One repository with one concept for each way in which people get images into DVC, and the DVC remote after `dvc push`,
as one JSON file. Absolute paths are written as `{root}`.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

SPEC = 'placeholder_token: "<{name}>"\ninitializer_token: cat\n'
NAMES = ("1.png", "Mixed Case.PNG", "back\\slash.png", "sub/déjà.jpg")
WAYS = {
    "added": "dvc add --quiet images",
    "uncommitted": "dvc add --quiet --no-commit images",
    "to-remote": "dvc add --quiet --to-remote ../../../outside -o images",
    "import-url": "dvc import-url --quiet ../../../outside images",
    "import-url-to-remote": "dvc import-url --quiet --to-remote ../../../outside images",
    "import-url-no-download": "dvc import-url --quiet --no-download ../../../outside images",
    "import": "dvc import --quiet {root}/other pictures -o images",
    "import-no-download": "dvc import --quiet --no-download {root}/other pictures -o images",
    "stage": 'dvc stage add --quiet --name crop --outs images "cp -R ../../../outside images" && dvc repro -q crop',
}
"""Commands by the name of the concept in whose folder they are run."""


def record(dvc: str, root: Path) -> dict[str, dict[str, str]]:
    """Run all ways below a new folder; return the files of the repository and of the remote, by path."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(root / "site")}

    def run(folder: Path, command: str) -> None:
        words = f'dvc() {{ {dvc} "$@"; }}\nset -e\n{command.format(root=root)}'
        subprocess.run(["bash", "-c", words], cwd=folder, env=environment, check=True, stdin=subprocess.DEVNULL)

    for name in ("clone", "other"):
        (root / name).mkdir()
        run(root / name, "git init --quiet --initial-branch=main; dvc init --quiet || test -d .dvc")
    write_images(root / "outside")
    write_images(root / "other" / "pictures", "other")
    run(root / "other", "dvc add --quiet pictures && git add --all && git commit --quiet -m Begin")
    clone = root / "clone"
    run(clone, "dvc remote add --quiet --default storage {root}/remote && dvc cache dir --local {root}/cache")
    for name, command in WAYS.items():
        folder = clone / "concepts" / name
        folder.mkdir(parents=True)
        (folder / "concept.yaml").write_text(SPEC.format(name=name))
        if name in ("added", "uncommitted"):
            write_images(folder / "images", name)
        run(folder, command)
    run(clone, "git add --all && dvc push --quiet")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=clone, capture_output=True, check=True).stdout.decode()
    remote = [path for path in (root / "remote").rglob("*") if path.is_file() and path.suffix != ".tmp"]
    return {
        "repository": {path: text_of(clone / path, root) for path in tracked.split("\0") if path},
        "remote": {path.relative_to(root / "remote").as_posix(): text_of(path, root) for path in sorted(remote)},
    }


def write_images(folder: Path, what: str = "outside") -> None:
    """Write files that stand for images."""
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{what}: {name}")


def text_of(path: Path, root: Path) -> str:
    """Return a file's text, with the root written as {root}."""
    return path.read_text("utf-8").replace(str(root), "{root}")


def main() -> None:
    """Record a release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dvc", required=True, help="command that runs DVC")
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = record(given.dvc, Path(folder).resolve())
    given.into.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
