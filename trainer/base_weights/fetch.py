"""Bring a base model's weights into a folder, each checked by its sha256:

    python -m trainer.base_weights.fetch --base-model sd-v1-4 --into FOLDER [--clip]

With --clip also the CLIP model that samples are scored with, into FOLDER/clip. What is there already and right stays
as it is; a download that was cut off goes on where it ended. CONCEPTRY_BASE_URL names addresses that hold the files by
name, separated by blanks, which are tried in this order; `--from` names other ones, also folders. Without both the
files come from where they were published. Exit codes: 0 all is there; 1 something could not be had, or is not what it
should be.

A Space and an endpoint call `fetch_for_drawing` when they start: they fetch what they need and do not find.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from trainer.base_weights.presets import (
    CLIP,
    CLIP_NAME,
    Preset,
    PresetFile,
    cache_folder,
    files_for_drawing,
    find,
    of,
    parse_reference,
)

MIRROR_VARIABLE = "CONCEPTRY_BASE_URL"
_PIECE = 1 << 20
_TIMEOUT = 60
_ROOM = 100_000_000
"""Bytes of the disk that a download leaves free: a full disk breaks more than the download."""
Report = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes of it that are here, and how many it has (None: the server does not say)."""


class FetchError(RuntimeError):
    """A file could not be had; the message says which, why, and what to do."""


def fetch_for_drawing(
    base_model: Preset | str,
    base_dir: str | Path | None = None,
    *,
    text_encoder: bool = True,
    report: Report = lambda *_: None,
) -> str | None:
    """Bring what drawing needs and this machine lacks.

    What lies in `base_dir`, or in the project, is left as it is. What is missing comes into `base_dir`, or without one
    into a folder beside the Hub's cache, and a download that is cut off goes on by itself.

    Args:
        base_model: Which one, or a preset's name.
        base_dir: A folder that is looked into first.
        text_encoder: Whether the base model's own text encoder is needed; a version brings one.
        report: Called with the progress.

    Returns:
        The folder to give to `Pipeline.load`; None when everything ships with the project.

    Raises:
        FetchError: A file could not be had.
    """
    preset = of(base_model)
    files = files_for_drawing(preset, text_encoder=text_encoder)
    if base_dir is None and all(find(file) for file in files):
        return None
    folder = Path(base_dir or cache_folder(preset.name))
    if lacking := [file for file in files if find(file, folder) is None]:
        fetch(lacking, folder, report, go_on=True)
    return str(folder)


def fetch(
    files: Iterable[PresetFile],
    folder: Path,
    report: Report = lambda *_: None,
    *,
    go_on: bool = False,
    sources: Sequence[str] = (),
) -> list[str]:
    """Bring the files into `folder`; another process that does the same is waited for.

    Args:
        files: Which files; what is there already and right is left as it is.
        folder: Where to; it is made.
        report: Called with the progress.
        go_on: Ask again, by itself, for the rest of a file whose download was cut off.
        sources: Addresses that hold the files by name, instead of those of CONCEPTRY_BASE_URL. The next one is asked
            where one fails, for the rest of the file; whatever they send counts only with its sha256.

    Returns:
        The names of those that were downloaded now.

    Raises:
        FetchError: A server did not answer, or sent something else, or the disk is too small; what was right already
            stays.
    """
    fetched = []
    with _alone(folder):
        for file in files:
            target, urls = folder / file.place, _addresses(file, sources)
            if is_whole(file, target) or (file.shipped and not urls):
                continue
            if not urls:
                raise FetchError(
                    f"{file.place}: no address is known; copy the file to {target}, or pass one with --from"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            _download_from(urls, file, target, report, go_on=go_on)
            fetched.append(target.name)
    return fetched


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it: two that write into the same file would spoil it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise FetchError(f"{folder} cannot be made ({error.strerror}); name another folder") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_whole(file: PresetFile, path: Path) -> bool:
    """Whether a file is there with all its bytes; they are read, gigabytes of them."""
    return path.is_file() and _sha256(path) == file.sha256


def _addresses(file: PresetFile, sources: Sequence[str]) -> list[str]:
    mirrors = sources or os.environ.get(MIRROR_VARIABLE, "").split()
    return [f"{mirror.rstrip('/')}/{quote(file.place)}" for mirror in mirrors] or list(file.sources)


def _download_from(urls: Sequence[str], file: PresetFile, target: Path, report: Report, *, go_on: bool) -> None:
    """Download from the first address that has the file."""
    problems: list[str] = []
    for url in urls:
        try:
            _download(file, url, target, report, go_on=go_on)
        except FetchError as error:
            problems.append(str(error))
        else:
            return
    raise FetchError("\n".join(problems))


def _download(file: PresetFile, url: str, target: Path, report: Report, *, go_on: bool) -> None:
    partial = target.with_name(f"{target.name}.partial")
    resumed = _size(partial) > 0
    bring(url, partial, target.name, report, go_on=go_on)
    found = _sha256(partial)
    if found != file.sha256 and resumed:
        # What lay there may have come from another address.
        partial.unlink()
        bring(url, partial, target.name, report, go_on=go_on)
        found = _sha256(partial)
    if found != file.sha256:
        partial.unlink()
        raise FetchError(f"{target.name}: what {url} sent has sha256 {found}, not {file.sha256}; it was thrown away")
    partial.replace(target)


def bring(url: str, partial: Path, name: str, report: Report, *, go_on: bool) -> None:
    """Bring the rest of a file into `partial`; see `fetch`. Raises FetchError."""
    whole = False
    while not whole:
        before = _size(partial)
        try:
            _append(url, partial, lambda have, of: report(name, have, of))
            whole = True
        except urllib.error.HTTPError as error:
            error.close()
            raise FetchError(f"{name}: {url} answers {error.code} {error.reason}") from error
        except (OSError, HTTPException) as error:
            # As long as each try brings more of it, it comes to an end.
            if go_on and _size(partial) > before:
                continue
            reason = getattr(error, "reason", error)
            raise FetchError(f"{name}: {url}: {reason}; what has come is kept for the next try") from error


def _append(url: str, partial: Path, report: Callable[[int, int | None], None]) -> None:
    have = _size(partial)
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
        free = shutil.disk_usage(partial.parent).free
        if length and int(length) + _ROOM > free:
            raise FetchError(
                f"{partial.stem}: {int(length) / 1e9:.1f} GB are still to come, and the disk of {partial.parent} has "
                f"{free / 1e9:.1f} GB left; make room, or name another folder"
            )
        with partial.open("ab" if have else "wb") as out:
            while piece := answer.read(_PIECE):
                out.write(piece)
                have += len(piece)
                report(have, whole)
    if whole is not None and have < whole:
        raise OSError(f"the connection ended after {have} of {whole} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def in_the_log(every: float = 10.0) -> Report:
    """Make a report for a log: one line when a file is there, and one every so many seconds until then."""
    last = time.monotonic()

    def report(name: str, have: int, whole: int | None) -> None:
        nonlocal last
        if have == whole or time.monotonic() - last > every:
            last = time.monotonic()
            print(_words(name, have, whole), file=sys.stderr, flush=True)

    return report


def _on_a_terminal(name: str, have: int, whole: int | None) -> None:
    print(f"\r{_words(name, have, whole)}", end="\n" if have == whole else "", file=sys.stderr, flush=True)


def _words(name: str, have: int, whole: int | None) -> str:
    of = f" of {whole / 1e6:,.0f}" if whole else ""
    return f"{name}: {have / 1e6:,.0f}{of} MB"


def main() -> int:
    """Fetch what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--base-model", required=True, type=parse_reference, help="a preset's name, or the JSON object of an entry"
    )
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--clip", action="store_true", help=f"{CLIP_NAME} (1.7 GB), to score samples with")
    parser.add_argument(
        "--from", dest="sources", action="append", default=[], help="an address or a folder; again: more"
    )
    options = parser.parse_args()
    preset: Preset = options.base_model
    files = () if preset.shipped else preset.files
    files += CLIP if options.clip else ()
    if not files:
        print(f"{preset.name} ships with the project: there is nothing to fetch")
        return 0
    report = _on_a_terminal if sys.stderr.isatty() else in_the_log()
    sources = [one if "://" in one else Path(one).absolute().as_uri() for one in options.sources]
    try:
        fetched = fetch(files, options.into, report, go_on=True, sources=sources)
    except (FetchError, OSError) as error:
        print(f"base fetch: {error}", file=sys.stderr)
        return 1
    names = " and ".join([preset.name] * (not preset.shipped) + [CLIP_NAME] * options.clip)
    print(f"{options.into} holds {names}: {len(fetched)} files fetched, {len(files) - len(fetched)} there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
