"""Listing of an images folder: the object `MD5.dir` that DVC keeps in the remote, one entry per file.

A listing is immutable, because its name is the md5 of its bytes. It is read from the remote once and cached on this
machine, so that reading a thousand concepts again sends no request to the remote.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from conceptry.desired import DesiredConcept, ImageRef, images_path
from conceptry.errors import ConceptryError, DataCorruptError, UnexpectedError
from conceptry.image_folder import is_junk
from conceptry.isolation import isolate
from conceptry.mirror import Mirror
from tasks.disk_full import disk_full
from tasks.dvc.deadlines import ask_each
from tasks.dvc.remote import open_remote
from tasks.file_io import write_atomically

Answer = bytes | ConceptryError | None
"""Bytes of a listing, None if it does not exist, or why the remote did not say."""
MAX_BYTES = 16 * 1024 * 1024
"""Size of a listing that is parsed, at most; about a hundred thousand files."""
_logger = logging.getLogger(__name__)
_DIR = re.compile(r"[0-9a-f]{32}\.dir")
_MD5 = re.compile(r"[0-9a-f]{32}")
# Characters of paths that lead elsewhere. A backslash separates folders on Windows only; elsewhere it is a letter.
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f]|^\w:" if os.name == "nt" else r"[\x00-\x1f\x7f]|^\w:")


def list_images(
    mirror: Mirror, revision: str, desired: Mapping[str, DesiredConcept], cache: Path, *, check: Collection[str] = ()
) -> dict[str, DesiredConcept]:
    """Return the concepts with their images at a revision filled in; concepts with an error are unchanged.

    Args:
        mirror: Mirror of the origin, or the user's clone.
        revision: Git commit, 40 hex digits; its `.dvc/config` names the remote.
        desired: Concepts of the same revision, from conceptry.concept.parse_sources.
        cache: Folder of cached listings.
        check: Names of the concepts whose files are looked up in the remote, to fill in `missing`.

    Returns:
        The concepts with `images` (None if the listing is not in the remote, because `dvc push` was not run) and
        `missing`. For a corrupt or malicious listing the concept's `error` is a DataCorruptError; `remote_error` is
        set for those whose objects the remote did not answer for.

    Raises:
        SettingsError: the revision has no usable remote.
        TransientError: the remote cannot be opened, or the disk is full.
    """
    readable = {name: concept for name, concept in desired.items() if concept.error is None and concept.dvc_md5}
    listings: dict[str, Answer] = {
        md5: _cached(cache, md5) for md5 in {concept.dvc_md5 for concept in readable.values()} if md5
    }
    unknown = {md5 for md5, listing in listings.items() if listing is None and _DIR.fullmatch(md5)}
    for remote_name in {concept.dvc_remote for concept in readable.values() if concept.dvc_md5 in unknown}:
        here = {one.dvc_md5 for one in readable.values() if one.dvc_remote == remote_name and one.dvc_md5 in unknown}
        remote = open_remote(mirror, revision, remote_name)
        listings |= ask_each(remote.read, sorted(filter(None, here)))
    filled = {name: _fill_in(concept, listings) for name, concept in readable.items()}
    parsed = {concept.dvc_md5 for concept in filled.values() if concept.images is not None}
    for md5 in parsed.intersection(unknown):
        _keep(cache, str(md5), listings[str(md5)])
    checked = [filled[name] for name in check if name in filled]
    return {**desired, **filled, **_find_missing(mirror, revision, checked)}


def list_cached(desired: Mapping[str, DesiredConcept], *caches: Path) -> dict[str, DesiredConcept]:
    """Return the concepts with their images filled in from DVC caches on this machine, without the remote.

    Args:
        desired: Concepts, from conceptry.concept.parse_sources.
        caches: Folders of the caches, see `tasks.dvc.clone.cache_folders`.
    """
    md5s = {concept.dvc_md5 for concept in desired.values() if concept.dvc_md5}
    listings: dict[str, Answer] = {
        md5: next(filter(None, (_cached(cache, md5) for cache in caches)), None) for md5 in md5s
    }
    readable = {name: concept for name, concept in desired.items() if concept.error is None and concept.dvc_md5}
    return {**desired, **{name: _fill_in(concept, listings) for name, concept in readable.items()}}


def known_names(md5s: Iterable[str], cache: Path) -> dict[str, str]:
    """Return the paths of images by md5, from cached listings, without the remote."""
    names: dict[str, str] = {}
    for md5 in md5s:
        refs = isolate(md5, partial(_parse_cached, cache, md5), lambda _: ())
        names |= {ref.md5: ref.relpath for ref in refs}
    return names


def _parse_cached(cache: Path, md5: str) -> tuple[ImageRef, ...]:
    data = _cached(cache, md5)
    return () if data is None else parse_listing(data, md5)


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
    if len(data) > MAX_BYTES:
        raise DataCorruptError(
            f"the list of its files ({dvc_md5}) has {len(data)} bytes, {MAX_BYTES} at most",
            concept=name,
            file=file,
            next_step="track fewer files with `dvc add`; a concept is learned from a few images",
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
        if re.search("[\ud800-\udfff]", ref.relpath):
            raise ValueError(f"the name {ref.relpath!r} is not UTF-8; rename that file")
        parts = re.split(r"[/\\]", ref.relpath)
        if any(part in ("", ".", "..") for part in parts) or _UNSAFE.search(ref.relpath):
            raise ValueError(f"{ref.relpath!r} is not a path inside the folder")
        if ref.relpath in seen:
            raise ValueError(f"{ref.relpath!r} is listed twice")
        seen.add(ref.relpath)
    for relpath in seen:
        if "/" in relpath and any(str(parent) in seen for parent in PurePosixPath(relpath).parents):
            raise ValueError(f"{relpath!r} is a path below another file")


def _fill_in(concept: DesiredConcept, listings: Mapping[str, Answer]) -> DesiredConcept:
    md5 = concept.dvc_md5 or ""
    data = listings.get(md5)
    if isinstance(data, ConceptryError):
        return _unread(concept, data)
    if data is None:
        return concept
    return isolate(
        concept.name,
        lambda: replace(concept, images=parse_listing(data, md5, concept.name)),
        lambda error: replace(concept, error=error),
    )


def _unread(concept: DesiredConcept, error: ConceptryError) -> DesiredConcept:
    """Return a concept for one of whose objects the remote gave an error."""
    if isinstance(error, UnexpectedError):
        return replace(concept, error=error)
    return replace(concept, remote_error=" ".join(str(error).split()))


def _find_missing(mirror: Mirror, revision: str, concepts: Iterable[DesiredConcept]) -> dict[str, DesiredConcept]:
    listed = [concept for concept in concepts if concept.images]
    if not listed:
        return {}
    found: dict[tuple[str | None, str], bool | ConceptryError] = {}
    for remote_name in {concept.dvc_remote for concept in listed}:
        here = {ref.md5 for one in listed if one.dvc_remote == remote_name for ref in one.images or ()}
        answers = ask_each(open_remote(mirror, revision, remote_name).exists, here)
        found |= {(remote_name, md5): answer for md5, answer in answers.items()}
    return {concept.name: _with_missing(concept, found) for concept in listed}


def _with_missing(
    concept: DesiredConcept, found: Mapping[tuple[str | None, str], bool | ConceptryError]
) -> DesiredConcept:
    images, remote_name = concept.images or (), concept.dvc_remote
    for answer in (found[remote_name, ref.md5] for ref in images):
        if isinstance(answer, ConceptryError):
            return _unread(concept, answer)
    return replace(concept, missing=tuple(ref for ref in images if not found[remote_name, ref.md5]))


def _keep(cache: Path, md5: str, data: Answer) -> None:
    """Keep a listing on this machine; without it, the listing is read again."""
    if isinstance(data, bytes):
        try:
            write_atomically(_path(cache, md5), data)
        except OSError as error:
            if disk_full(error, cache) is not None:
                raise
            _logger.warning("the list of images %s cannot be kept: %s", md5, error)


def _path(cache: Path, md5: str) -> Path:
    return cache / md5[:2] / md5[2:]


def _cached(cache: Path, md5: str) -> bytes | None:
    if not _DIR.fullmatch(md5):
        return None
    try:
        data = _path(cache, md5).read_bytes()
    except OSError:
        return None
    # A damaged cache file is read from the remote again.
    return data if f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}.dir" == md5 else None
