"""Download of one concept's images from the DVC remote into a folder that appears complete or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from conceptry.desired import ImageRef
from conceptry.errors import DataCorruptError, DataMissingError
from conceptry.mirror import Mirror
from tasks.dvc.committed_remote import CommittedRemote
from tasks.dvc.deadlines import in_parallel
from tasks.dvc.image_listing import parse_listing
from tasks.dvc.remote import Remote, open_remote
from tasks.file_io import file_digest

_NAMES = 5
MAX_TEXT = 1 << 20
"""Size of a file that may be a text, at most."""


def fetch_images(
    mirror: Mirror,
    revision: str,
    dvc_md5: str,
    images: Sequence[ImageRef] | None,
    *,
    destination: Path,
    concept: str | None = None,
    remote_name: str | None = None,
) -> Path:
    """Download the files of one images.dvc to `destination`, every md5 checked, that of the listing included.

    The files are written to a temporary folder beside it, which is renamed when it is complete. A complete
    `destination` is kept without a request to the remote, so two processes may call this at once.

    Args:
        mirror: Mirror of the origin, or the user's clone.
        revision: Git commit, 40 hex digits; its `.dvc/config` names the remote.
        dvc_md5: md5 in images.dvc, with its suffix `.dir`.
        images: Files to fetch, as `list_images` returned them; None for all of the listing.
        destination: Folder to make.
        concept: Name of the concept, for error messages.
        remote_name: Remote that images.dvc names; None for the default one.

    Raises:
        DataMissingError: the remote lacks files; the message names them.
        DataCorruptError: files in the remote do not have their md5; the message names them.
        SettingsError: the revision has no usable remote.
        TransientError: the remote cannot be reached.
    """
    if images is not None and _is_complete(destination, images):
        return destination
    remote = open_remote(mirror, revision, remote_name)
    selected = _choose(remote, dvc_md5, images, concept)
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        whole = scratch / "new"
        whole.mkdir()
        _download(remote, selected, whole, concept)
        _move(whole, destination, selected, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return destination


def _choose(
    remote: Remote | CommittedRemote, dvc_md5: str, images: Sequence[ImageRef] | None, concept: str | None
) -> tuple[ImageRef, ...]:
    data = remote.read(dvc_md5)
    if data is None:
        raise DataMissingError(
            f"the list of its images ({dvc_md5}) is in git but not in the DVC remote {remote.name!r}",
            concept=concept,
            next_step="run `dvc push` in the clone where they were added",
        )
    listed = parse_listing(data, dvc_md5, concept)
    strangers = set(images or ()) - set(listed)
    if strangers:
        raise DataCorruptError(
            f"{_names(strangers)} not in the list of its images ({dvc_md5})",
            concept=concept,
            next_step="wait for the next plan, or run `conceptry plan`",
        )
    return listed if images is None else tuple(images)


def _download(
    remote: Remote | CommittedRemote, selected: Sequence[ImageRef], folder: Path, concept: str | None
) -> None:
    for ref in selected:
        (folder / ref.relpath).parent.mkdir(parents=True, exist_ok=True)

    def fetch(ref: ImageRef) -> str:
        path = folder / ref.relpath
        if not remote.download(ref.md5, path):
            return "missing"
        path.chmod(0o644)  # objects in a DVC remote may be read-only
        return "" if _has_md5(path, ref.md5) else "corrupt"

    found = list(zip(selected, in_parallel(fetch, selected), strict=True))
    missing = [ref for ref, trouble in found if trouble == "missing"]
    if missing:
        raise DataMissingError(
            f"{len(missing)} of {len(selected)} files are in git but not in the DVC remote {remote.name!r}: "
            f"{_names(missing)}",
            concept=concept,
            next_step="run `dvc push` in the clone where they were added",
        )
    corrupt = [ref for ref, trouble in found if trouble == "corrupt"]
    if corrupt:
        raise DataCorruptError(
            f"{len(corrupt)} of {len(selected)} files in the DVC remote {remote.name!r} do not have their md5: "
            f"{_names(corrupt)}",
            concept=concept,
            next_step="delete these objects from the remote and run `dvc push` in a clone that has the images",
        )


def _move(whole: Path, destination: Path, selected: Sequence[ImageRef], aside: Path) -> None:
    try:
        whole.replace(destination)
    except OSError:
        # The destination exists: another process made it, or its content was damaged later.
        if _is_complete(destination, selected):
            return
        destination.replace(aside)
        whole.replace(destination)


def _is_complete(folder: Path, selected: Iterable[ImageRef]) -> bool:
    if not folder.is_dir():
        return False
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    expected = {ref.relpath: ref.md5 for ref in selected}
    return found.keys() == expected.keys() and all(_has_md5(path, expected[name]) for name, path in found.items())


def _has_md5(path: Path, md5: str) -> bool:
    """Whether a file has an md5 as DVC computes it; DVC 2 takes that of a text with Unix line ends."""
    if file_digest(path, "md5") == md5:
        return True
    data = path.read_bytes() if path.stat().st_size <= MAX_TEXT else b""
    return b"\r\n" in data and hashlib.md5(data.replace(b"\r\n", b"\n"), usedforsecurity=False).hexdigest() == md5


def _names(refs: Iterable[ImageRef]) -> str:
    names = sorted(f"{ref.relpath} ({ref.md5})" for ref in refs)
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
