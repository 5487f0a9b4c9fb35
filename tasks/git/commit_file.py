"""Commits of one file in the user's working tree, with the user's git: identity, hooks and signatures apply."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from conceptry.errors import SettingsError, TransientError
from tasks.processes import run_to_end

# Seconds; hooks of a commit may lint the whole repository.
_TIMEOUT = 600.0


def uncommitted(top: Path, path: str) -> bool:
    """Whether a file of the working tree differs from its last commit.

    Raises:
        SettingsError, TransientError: git failed.
    """
    return bool(_git(top, "status", "--porcelain", "--", path))


def commit_file(top: Path, path: str, content: bytes, message: str) -> str:
    """Write a file and commit it alone on the branch that is checked out; return the commit.

    If git refuses, for example in a hook, the file gets its former content back.

    Raises:
        SettingsError, TransientError: git failed.
    """
    file = top / path
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        _git(top, "commit", "--quiet", "--only", "-m", message, "--", path)
    except BaseException:
        file.write_bytes(before)
        raise
    return _git(top, "rev-parse", "HEAD")


def commit_on_branch(top: Path, base: str, branch: str, path: str, content: bytes, message: str) -> str:
    """Make a branch of one commit that changes one file; the working tree stays as it is. Return the commit.

    Args:
        top: The working tree, or the folder in it that `path` is relative to.
        base: Commit that the branch starts from.
        branch: Name of the branch, which must not exist.
        path: The file.
        content: Its new content.
        message: Message of the commit.

    Raises:
        SettingsError, TransientError: git failed, or the branch exists.
    """
    with TemporaryDirectory(prefix="conceptry-branch-") as folder:
        tree, inside = Path(folder) / "tree", _git(top, "rev-parse", "--show-prefix")
        _git(top, "worktree", "add", "--quiet", "--no-track", "-b", branch, str(tree), base)
        try:
            return commit_file(tree / inside, path, content, message)
        except BaseException:
            _git(top, "worktree", "remove", "--force", str(tree))
            _git(top, "branch", "--quiet", "-D", branch)
            raise
        finally:
            if tree.exists():
                _git(top, "worktree", "remove", "--force", str(tree))


def has_commit(top: Path, commit: str) -> bool:
    """Whether the repository of a working tree has a commit.

    Raises:
        TransientError: git did not answer.
    """
    try:
        _git(top, "cat-file", "-e", f"{commit}^{{commit}}")
    except SettingsError:
        return False
    return True


def _git(top: Path, *arguments: str) -> str:
    try:
        done = run_to_end(["git", "-C", str(top), *arguments], timeout=_TIMEOUT)
    except TimeoutError as error:
        raise TransientError(f"git did not answer for {_TIMEOUT:.0f} s in {top}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise SettingsError(f"`git {arguments[0]}` failed in {top}: {said}", next_step="nothing was changed")
    return done.stdout.decode(errors="replace").strip()
