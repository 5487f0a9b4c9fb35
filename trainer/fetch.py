"""Bring a base model's weights into a folder, each checked by its sha256:

    python -m trainer.fetch --base-model sd-v1-4 --into FOLDER

What is there already and right stays as it is; a download that was cut off goes on where it ended. Exit codes: 0 all is
there; 1 something could not be had, or is not what it should be.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from trainer.presets import PRESETS, PresetFile

_PIECE = 1 << 20
_TIMEOUT = 60
Report = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes of it that are here, and how many it has (None: the server does not say)."""


class FetchError(RuntimeError):
    """A file could not be had; the message says which, why, and what to do."""


def fetch(files: Iterable[PresetFile], folder: Path, report: Report = lambda *_: None) -> list[str]:
    """Bring the files into `folder`.

    Returns:
        The names of those that were downloaded now.

    Raises:
        FetchError: A server did not answer, or sent something else; what was right already stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fetched = []
    for file in files:
        target = folder / Path(file.path).name
        if file.url is None or (target.is_file() and _sha256(target) == file.sha256):
            continue
        _download(file, file.url, target, report)
        fetched.append(target.name)
    return fetched


def _download(file: PresetFile, url: str, target: Path, report: Report) -> None:
    partial = target.with_name(f"{target.name}.partial")
    try:
        _append(url, partial, lambda have, whole: report(target.name, have, whole))
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"{target.name}: {url} answers {error.code} {error.reason}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise FetchError(f"{target.name}: {url}: {reason}; run the same command again to go on") from error
    found = _sha256(partial)
    if found != file.sha256:
        partial.unlink()
        raise FetchError(f"{target.name}: what {url} sent has sha256 {found}, not {file.sha256}; it was thrown away")
    partial.replace(target)


def _append(url: str, partial: Path, report: Callable[[int, int | None], None]) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        # All of it is here already: only the check was cut off.
        if error.code == 416 and have:
            error.close()
            return
        raise
    with answer:
        # A server that knows no ranges sends the whole file again.
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length else None
        with partial.open("ab" if have else "wb") as out:
            while piece := answer.read(_PIECE):
                out.write(piece)
                have += len(piece)
                report(have, whole)
    if whole is not None and have < whole:
        raise OSError(f"the connection ended after {have} of {whole} bytes")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _print(name: str, have: int, whole: int | None) -> None:
    of = f" of {whole / 1e6:,.0f}" if whole else ""
    end = "\n" if have == whole else ""
    if sys.stderr.isatty() or end:
        print(f"\r{name}: {have / 1e6:,.0f}{of} MB", end=end, file=sys.stderr, flush=True)


def main() -> int:
    """Fetch what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", required=True, choices=list(PRESETS))
    parser.add_argument("--into", type=Path, required=True)
    options = parser.parse_args()
    preset = PRESETS[options.base_model]
    if preset.shipped:
        print(f"{preset.name} ships with the project: there is nothing to fetch")
        return 0
    try:
        fetched = fetch(preset.files, options.into, _print)
    except (FetchError, OSError) as error:
        print(f"base fetch: {error}", file=sys.stderr)
        return 1
    print(f"{options.into} holds {preset.name}: {len(fetched)} files fetched, {len(preset.files) - len(fetched)} there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
