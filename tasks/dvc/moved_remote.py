"""DVC remotes in a set-up's folder that was moved: commits hold the path that the folder had then."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from conceptry.moved_path import moved_path
from conceptry.work_folder import WorkFolder
from tasks.file_io import write_atomically


class Moves(BaseModel):
    """Content of `moved.json`: where the set-up's folder is, and where it was before, the latest place last."""

    model_config = ConfigDict(frozen=True)

    root: Path
    before: list[str] = []


def note_move(work: WorkFolder, before: str, root: Path) -> None:
    """Note that the folder was moved from `before` to `root`."""
    known = _read(work.moved)
    places = [*(known.before if known else []), before]
    noted = Moves(root=root, before=list(dict.fromkeys(place for place in places if place != str(root))))
    work.root.mkdir(parents=True, exist_ok=True)
    write_atomically(work.moved, noted.model_dump_json().encode())


def path_today(work: WorkFolder, url: str) -> str:
    """Return the path of a DVC remote in the folder where it is today; other addresses as they are."""
    known = _read(work.moved)
    for before in reversed(known.before if known else []):
        if known and (found := moved_path(url, before, known.root)) != url:
            return found
    return url


def _read(path: Path) -> Moves | None:
    try:
        return Moves.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
