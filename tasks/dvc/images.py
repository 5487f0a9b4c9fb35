"""One concept's images, from the DVC remote into a folder that is whole or not there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from conceptry.concept import ImageRef
from conceptry.errors import DataCorruptError, DataMissingError
from tasks.dvc.listing import parse_listing
from tasks.dvc.remote import Remote, in_parallel, open_remote
from tasks.files import file_digest

_NAMES = 5


def fetch_images(
    mirror: Path,
    revision: str,
    dvc_md5: str,
    images: Sequence[ImageRef] | None,
    *,
    destination: Path,
    concept: str | None = None,
) -> Path:
    """Bring the files of one images.dvc to `destination`, every md5 checked, the listing's too.

    They are fetched into a temporary folder beside it, which is renamed when it is whole. A whole `destination` is left
    as it is, without asking the remote; so two processes may do this at once.

    Args:
        mirror: the bare mirror that tasks.git made.
        revision: 40 hex digits; its `.dvc/config` names the remote.
        dvc_md5: what images.dvc says, with its `.dir`.
        images: the files that are wanted, as `list_images` gave them; None for all of the listing.
        destination: the folder to make.
        concept: for messages.

    Raises:
        DataMissingError: the remote lacks files; they are named.
        DataCorruptError: files in the remote do not have their md5; they are named.
        SettingsError: no usable remote at this revision.
        TransientError: the remote cannot be reached.
    """
    if images is not None and _is_whole(destination, images):
        return destination
    remote = open_remote(mirror, revision)
    wanted = _choose(remote, dvc_md5, images, concept)
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        whole = scratch / "new"
        whole.mkdir()
        _download(remote, wanted, whole, concept)
        _move(whole, destination, wanted, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return destination


def _choose(
    remote: Remote, dvc_md5: str, images: Sequence[ImageRef] | None, concept: str | None
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
            f"{_names(strangers)} not in the list of its images ({dvc_md5})", concept=concept, next_step="plan again"
        )
    return listed if images is None else tuple(images)


def _download(remote: Remote, wanted: Sequence[ImageRef], folder: Path, concept: str | None) -> None:
    for ref in wanted:
        (folder / ref.relpath).parent.mkdir(parents=True, exist_ok=True)

    def fetch(ref: ImageRef) -> str:
        path = folder / ref.relpath
        if not remote.download(ref.md5, path):
            return "missing"
        path.chmod(0o644)  # DVC protects what it stores
        return "" if file_digest(path, "md5") == ref.md5 else "corrupt"

    found = list(zip(wanted, in_parallel(fetch, wanted), strict=True))
    missing = [ref for ref, trouble in found if trouble == "missing"]
    if missing:
        raise DataMissingError(
            f"{len(missing)} of {len(wanted)} files are in git but not in the DVC remote {remote.name!r}: "
            f"{_names(missing)}",
            concept=concept,
            next_step="run `dvc push` in the clone where they were added",
        )
    corrupt = [ref for ref, trouble in found if trouble == "corrupt"]
    if corrupt:
        raise DataCorruptError(
            f"{len(corrupt)} of {len(wanted)} files in the DVC remote {remote.name!r} do not have their md5: "
            f"{_names(corrupt)}",
            concept=concept,
            next_step="delete these objects from the remote and run `dvc push` in a clone that has the images",
        )


def _move(whole: Path, destination: Path, wanted: Sequence[ImageRef], aside: Path) -> None:
    try:
        whole.replace(destination)
    except OSError:
        # Something is there: another process's work, which is as good as ours, or what was damaged since.
        if _is_whole(destination, wanted):
            return
        destination.replace(aside)
        whole.replace(destination)


def _is_whole(folder: Path, wanted: Iterable[ImageRef]) -> bool:
    if not folder.is_dir():
        return False
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    expected = {ref.relpath: ref.md5 for ref in wanted}
    return found.keys() == expected.keys() and all(
        file_digest(path, "md5") == expected[name] for name, path in found.items()
    )


def _names(refs: Iterable[ImageRef]) -> str:
    names = sorted(f"{ref.relpath} ({ref.md5})" for ref in refs)
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
