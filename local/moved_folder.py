"""A set-up's folder that was moved: what inside it holds absolute paths, and is corrected when `up` starts there.

The set-up's own file is corrected when it is read (local.setup_folder). The address of a DVC remote stands in commits
and cannot be changed; the flows look it up in `moved.json` of the scratch folder, clones in their `.dvc/config.local`.
"""

from __future__ import annotations

from pathlib import Path

import pygit2

from conceptry.moved_path import moved_path
from conceptry.work_folder import WorkFolder
from local.post_receive_hook import HOOK, install
from tasks.dvc.moved_remote import note_move


def carry_over(root: Path, before: str, work: WorkFolder) -> None:
    """Correct git remotes, hooks and DVC remotes of the repositories in a folder that was moved.

    Args:
        root: The folder, where it is now.
        before: Where it was.
        work: Scratch folder of the set-up.
    """
    note_move(work, before, root)
    for place in sorted(one for one in root.iterdir() if one.is_dir()):
        bare = (place / "HEAD").is_file()
        if not bare and not (place / ".git").is_dir():
            continue
        _move_remotes(pygit2.Repository(str(place)), before, root)
        hook = place / HOOK
        if bare and hook.is_file() and __package__ in hook.read_text(encoding="utf-8"):
            install(place, root)
        if (place / ".dvc" / "config").is_file():
            _move_dvc_remotes(place, before, root)


def _move_remotes(repository: pygit2.Repository, before: str, root: Path) -> None:
    for remote in repository.remotes:
        if remote.url and (found := moved_path(remote.url, before, root)) != remote.url:
            repository.remotes.set_url(remote.name, found)


def _move_dvc_remotes(clone: Path, before: str, root: Path) -> None:
    # Imported here: it takes seconds, and only a folder that was moved needs it.
    from dvc.config import Config

    config = Config(dvc_dir=str(clone / ".dvc"))
    moved = {
        name: found
        for name, settings in config["remote"].items()
        if (found := moved_path(str(settings.get("url", "")), before, root)) != settings.get("url", "")
    }
    if moved:
        with config.edit("local") as own:
            for name, url in moved.items():
                own["remote"].setdefault(name, {})["url"] = url
