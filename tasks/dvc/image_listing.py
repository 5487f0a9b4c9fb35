"""Listing of an images folder: the object `MD5.dir` that DVC keeps in the remote, one entry per file.

A listing is immutable, because its name is the md5 of its bytes. It is read from the remote once and cached on this
machine, so that reading a thousand concepts again sends no request to the remote.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from conceptry.desired import DesiredConcept, ImageRef, images_path
from conceptry.errors import DataCorruptError
from tasks.dvc.deadlines import in_parallel
from tasks.dvc.remote import open_remote
from tasks.file_io import write_atomically
from trainer.data.records import is_junk

_DIR = re.compile(r"[0-9a-f]{32}\.dir")
_MD5 = re.compile(r"[0-9a-f]{32}")


def list_images(
    mirror: Path, revision: str, desired: Mapping[str, DesiredConcept], cache: Path, *, check: Collection[str] = ()
) -> dict[str, DesiredConcept]:
    """Return the concepts with their images at a revision filled in; concepts with an error are unchanged.

    Args:
        mirror: Bare mirror made by tasks.git.
        revision: Git commit, 40 hex digits; its `.dvc/config` names the remote.
        desired: Concepts of the same revision, from conceptry.concept.parse_sources.
        cache: Folder of cached listings.
        check: Names of the concepts whose files are looked up in the remote, to fill in `missing`.

    Returns:
        The concepts with `images` (None if the listing is not in the remote, because `dvc push` was not run) and
        `missing`. For a corrupt or malicious listing the concept's `error` is a DataCorruptError.

    Raises:
        SettingsError: the revision has no usable remote.
        TransientError: the remote cannot be reached.
    """
    readable = {name: concept for name, concept in desired.items() if concept.error is None and concept.dvc_md5}
    listings = {md5: _cached(cache, md5) for md5 in {concept.dvc_md5 for concept in readable.values()} if md5}
    unknown = sorted(md5 for md5, listing in listings.items() if listing is None and _DIR.fullmatch(md5))
    if unknown:
        remote = open_remote(mirror, revision)
        listings |= dict(zip(unknown, in_parallel(remote.read, unknown), strict=True))
    filled = {name: _fill_in(concept, listings, cache, set(unknown)) for name, concept in readable.items()}
    checked = [filled[name] for name in check if name in filled]
    return {**desired, **filled, **_find_missing(mirror, revision, checked)}


def list_cached(desired: Mapping[str, DesiredConcept], cache: Path) -> dict[str, DesiredConcept]:
    """Return the concepts with their images filled in from a DVC cache on this machine, without the remote.

    Args:
        desired: Concepts, from conceptry.concept.parse_sources.
        cache: Folder files/md5 of the cache.
    """
    listings = {concept.dvc_md5: _cached(cache, concept.dvc_md5) for concept in desired.values() if concept.dvc_md5}
    readable = {name: concept for name, concept in desired.items() if concept.error is None and concept.dvc_md5}
    return {**desired, **{name: _fill_in(concept, listings, cache, ()) for name, concept in readable.items()}}


def known_names(md5s: Iterable[str], cache: Path) -> dict[str, str]:
    """Return the paths of images by md5, from cached listings, without the remote."""
    names: dict[str, str] = {}
    for md5 in md5s:
        with suppress(DataCorruptError):
            names |= {ref.md5: ref.relpath for ref in parse_listing(_cached(cache, md5) or b"", md5)}
    return names


def parse_listing(data: bytes, dvc_md5: str, name: str | None = None) -> tuple[ImageRef, ...]:
    """Check a listing's md5 and parse it. Files that file managers create are dropped.

    Raises:
        DataCorruptError: the bytes have another md5, are not a listing, or contain a path outside the folder.
    """
    file = images_path(name) if name else dvc_md5
    if f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}.dir" != dvc_md5:
        raise DataCorruptError(
            f"the list of its files in the DVC remote ({dvc_md5}) is damaged",
            concept=name,
            file=file,
            next_step="delete that object from the remote and run `dvc push` in a clone that has the images",
        )
    try:
        refs = [ImageRef(relpath=entry["relpath"], md5=entry["md5"]) for entry in json.loads(data)]
        _check_paths(refs)
    except (ValueError, TypeError, KeyError) as error:
        raise DataCorruptError(
            f"the list of its files ({dvc_md5}) is not one that DVC wrote: {error}",
            concept=name,
            file=file,
            next_step="run `dvc add` on the folder again, commit, and `dvc push`",
        ) from error
    return tuple(sorted((ref for ref in refs if not is_junk(ref.relpath)), key=lambda ref: ref.relpath))


def _check_paths(refs: Iterable[ImageRef]) -> None:
    """Raise ValueError for paths outside the folder and for paths that collide: a listing is untrusted input."""
    seen: set[str] = set()
    for ref in refs:
        if not isinstance(ref.relpath, str) or not isinstance(ref.md5, str) or not _MD5.fullmatch(ref.md5):
            raise ValueError(f"{ref.relpath!r} has no md5")
        parts = ref.relpath.split("/")
        if any(part in ("", ".", "..") for part in parts) or re.search(r"[\\\x00-\x1f\x7f]|^\w:", ref.relpath):
            raise ValueError(f"{ref.relpath!r} is not a path inside the folder")
        if ref.relpath in seen:
            raise ValueError(f"{ref.relpath!r} is listed twice")
        seen.add(ref.relpath)
    for relpath in seen:
        if "/" in relpath and any(str(parent) in seen for parent in PurePosixPath(relpath).parents):
            raise ValueError(f"{relpath!r} is a path below another file")


def _fill_in(
    concept: DesiredConcept, listings: Mapping[str, bytes | None], cache: Path, fresh: Collection[str]
) -> DesiredConcept:
    md5 = concept.dvc_md5 or ""
    data = listings.get(md5)
    if data is None:
        return concept
    try:
        images = parse_listing(data, md5, concept.name)
    except DataCorruptError as error:
        return replace(concept, error=error)
    if md5 in fresh:
        write_atomically(_path(cache, md5), data)
    return replace(concept, images=images)


def _find_missing(mirror: Path, revision: str, concepts: Iterable[DesiredConcept]) -> dict[str, DesiredConcept]:
    listed = [concept for concept in concepts if concept.images]
    if not listed:
        return {}
    present = open_remote(mirror, revision).present(ref.md5 for concept in listed for ref in concept.images or ())
    return {
        concept.name: replace(concept, missing=tuple(ref for ref in concept.images or () if ref.md5 not in present))
        for concept in listed
    }


def _path(cache: Path, md5: str) -> Path:
    return cache / md5[:2] / md5[2:]


def _cached(cache: Path, md5: str) -> bytes | None:
    if not _DIR.fullmatch(md5):
        return None
    try:
        data = _path(cache, md5).read_bytes()
    except FileNotFoundError:
        return None
    # A damaged cache file is read from the remote again.
    return data if f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}.dir" == md5 else None
