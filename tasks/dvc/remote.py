"""Access to the DVC remote that `.dvc/config` names at a revision: a local folder, a bucket, or any storage of DVC.

DVC's configuration, file systems and object store are used, so its credentials and options apply. DVC takes seconds to
import and most calls read cached listings only, so it is imported inside the functions.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pygit2

from conceptry.errors import ConceptryError, SettingsError, TransientError
from conceptry.mirror import Mirror
from conceptry.work_folder import WorkFolder
from tasks.disk_full import disk_full
from tasks.dvc.committed_remote import CommittedRemote
from tasks.dvc.deadlines import call_within
from tasks.dvc.moved_remote import path_today
from tasks.dvc.remote_guard import CREDENTIALS, check_remote
from tasks.extras import install_command
from tasks.mirror_objects import commit_at, look_up, open_mirror

CONFIG = ".dvc/config"

# Seconds for one object. The storage clients' own retries take more than a minute if the storage does not respond.
ASK_TIMEOUT = 30.0
DOWNLOAD_TIMEOUT = 300.0
# Seconds to read the configuration and to build the client, which may ask a metadata server for credentials.
OPEN_TIMEOUT = 60.0

# Libraries whose exceptions, besides OSError, are storage failures; other exceptions are bugs and stay untranslated.
_CLIENTS = {"aiohttp", "requests", "urllib3", "gcsfs", "google", "botocore", "azure", "asyncssh", "fsspec"}
_DENIED = (401, 403)
# In DVC's words: "s3 is supported, but requires 'dvc-s3' to be installed".
_PLUG_IN = re.compile(r"(?<=requires ')dvc-[a-z0-9]+(?=' to be installed)")


@dataclass(frozen=True)
class Remote:
    """DVC remote with its object stores (of dvc_data); objects are named by md5, listings by md5 and `.dir`.

    The first store is that of DVC 3, `files/md5/ab/cdef`; the second one, `ab/cdef`, has what DVC 2 pushed. `secrets`
    are values of its configuration that no message may contain.
    """

    name: str
    stores: tuple[Any, ...] = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def read(self, oid: str) -> bytes | None:
        """Read one object; None if it does not exist. The md5 is not checked.

        Raises:
            TransientError: the remote cannot be reached. SettingsError: the remote refuses access.
        """
        for store in self.stores:
            with suppress(FileNotFoundError):
                return bytes(self._call("cat_file", ASK_TIMEOUT, store.oid_to_path(oid)))
        return None

    def download(self, oid: str, path: Path) -> bool:
        """Write one object to `path`; return False if it does not exist. The md5 is not checked.

        Raises:
            TransientError: the remote cannot be reached. SettingsError: the remote refuses access.
        """
        for store in self.stores:
            with suppress(FileNotFoundError):
                self._call("get_file", DOWNLOAD_TIMEOUT, store.oid_to_path(oid), str(path))
                return True
        return False

    def exists(self, oid: str) -> bool:
        """Whether an object exists.

        Raises:
            TransientError: the remote cannot be reached. SettingsError: the remote refuses access.
        """
        return any(self._call("exists", ASK_TIMEOUT, store.oid_to_path(oid)) for store in self.stores)

    def _call(self, method: str, timeout: float, *arguments: str) -> Any:
        try:
            return self._request(method, timeout, *arguments)
        except (ConceptryError, FileNotFoundError):
            raise
        except Exception as error:
            translated = disk_full(error, arguments[-1]) or _translate(error, self.name, self.secrets)
            if translated is None:
                raise
        # Outside of the handler: errors of clients carry the request with its headers.
        raise translated

    def _request(self, method: str, timeout: float, *arguments: str) -> Any:
        fs = call_within(timeout, lambda: self.stores[0].fs.fs)
        if not fs.async_impl:
            return call_within(timeout, getattr(fs, method), *arguments)
        # Like the synchronous methods of fsspec, with a time-out.
        answer = asyncio.run_coroutine_threadsafe(getattr(fs, f"_{method}")(*arguments), fs.loop)
        try:
            return answer.result(timeout)
        except TimeoutError as error:
            answer.cancel()
            raise TimeoutError(f"no answer for {timeout:.0f} s") from error


@dataclass(frozen=True)
class RelativePath:
    """Remote at a path that is relative to .dvc."""

    name: str
    path: str


def open_remote(mirror: Mirror, revision: str, name: str | None = None) -> Remote | CommittedRemote:
    """Return a remote of a revision, without a request to it.

    `tasks.dvc.remote_guard` describes which credentials of this machine it gets.

    Args:
        mirror: Mirror of the origin, in the scratch folder of an installation, or the user's clone.
        revision: Git commit.
        name: Name of the remote; None for the default one.

    Raises:
        SettingsError: `.dvc/config` is missing or invalid, names no default remote, or one that only works inside a
            working tree, on a terminal, or with credentials that this machine keeps for another address.
        TransientError: the client could not be built in time.
    """
    text, config = _config_at(mirror, revision)
    # By default gcsfs requests the storage layout of a bucket over gRPC and hangs on an emulator, which has no gRPC.
    # gcsfs reads this from the environment only.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    from dvc.exceptions import DvcException
    from dvc.fs import ConfigError, RemoteMissingDepsError

    place = f"{config} at {revision[:8]}"
    failed: ConceptryError
    try:
        found = call_within(OPEN_TIMEOUT, _open, text, place, name, WorkFolder(mirror.folder.parent))
        return found if isinstance(found, Remote) else _committed(found, mirror, revision, config)
    except TimeoutError:
        failed = TransientError(f"the DVC remote could not be opened within {OPEN_TIMEOUT:.0f} s", file=place)
    except (DvcException, ConfigError, RemoteMissingDepsError, ImportError) as error:
        failed = _unusable(error, place)
    # Outside of the handler: errors of DVC carry its configuration.
    raise failed


def _unusable(error: Exception, place: str) -> SettingsError:
    """Return why DVC does not open a remote; a plug-in that is not installed, with the command that installs it."""
    if plug_in := _PLUG_IN.search(str(error)):
        step = f"run `{install_command('all', also=plug_in[0])}`"
        return SettingsError(f"the remote needs {plug_in[0]}, which is not installed", file=place, next_step=step)
    return SettingsError(str(error), file=place, next_step="correct the file and commit it")


def _committed(found: RelativePath, mirror: Mirror, revision: str, config: str) -> CommittedRemote:
    """Return the remote at a path that is relative to .dvc, which only git can have.

    Raises:
        SettingsError: the commit has no such folder.
    """
    folder = posixpath.normpath(posixpath.join(posixpath.dirname(config), found.path))
    repository = open_mirror(mirror.folder)
    if not isinstance(look_up(repository, commit_at(repository, revision), folder), pygit2.Tree):
        raise SettingsError(
            f"the remote {found.name!r} has a relative path as its url, and the repository no folder {folder}",
            file=f"{config} at {revision[:8]}",
            next_step="commit that folder, or set an absolute path or a URL: `dvc remote modify NAME url ...`",
        )
    return CommittedRemote(found.name, mirror, revision, folder)


def _open(text: bytes, place: str, named: str | None, work: WorkFolder) -> Remote | RelativePath:
    from dvc.config import Config, merge
    from dvc.config_schema import RelPath
    from dvc.data_cloud import Remote as DvcRemote
    from dvc.fs import get_cloud_fs

    with tempfile.TemporaryDirectory(prefix="conceptry-") as folder:
        Path(folder, "config").write_bytes(text)
        # The user's and the system's configuration apply as well, because they hold the credentials.
        config = Config(dvc_dir=folder)
        from_git, machine = config.load_one("repo"), config.load_one("system")
        base = os.path.realpath(folder)
    merge(machine, config.load_one("global"))
    name = named or config["core"].get("remote")
    if not name:
        raise SettingsError(
            "names no default remote", file=place, next_step="run `dvc remote add -d NAME URL` and commit it"
        )
    if name.lower() not in config["remote"]:
        raise SettingsError(
            f"has no remote {name!r}", file=place, next_step=f"run `dvc remote add {name} URL` and commit it"
        )
    settings = config["remote"].get(name.lower(), {})
    if isinstance(settings.get("url"), RelPath):
        return RelativePath(name, Path(os.path.relpath(os.path.realpath(settings["url"]), base)).as_posix())
    _refuse_relative(name, settings, place)
    check_remote(name, machine["remote"], from_git["remote"], place)
    if url := config["remote"].get(name.lower(), {}).get("url"):
        config["remote"][name.lower()]["url"] = path_today(work, url)
    filesystem, settings, path = get_cloud_fs(config, name=name)
    if settings.get("worktree") or settings.get("version_aware"):
        raise SettingsError(
            f"the remote {name!r} is cloud-versioned, which Conceptry does not support",
            file=place,
            next_step="use a plain remote: worktree = false, version_aware = false",
        )
    remote = DvcRemote(name, path, filesystem(**settings), **settings)
    secrets = (value for key, value in settings.items() if key in CREDENTIALS and isinstance(value, str) and value)
    return Remote(name, (remote.odb, remote.legacy_odb), tuple(secrets))


def _config_at(mirror: Mirror, revision: str) -> tuple[bytes, str]:
    """Return DVC's configuration, and its path from the top of the repository."""
    repository = open_mirror(mirror.folder)
    commit = commit_at(repository, revision)
    # DVC may have been initialised in a folder above the registry's.
    for above in mirror.parents:
        entry = look_up(repository, commit, above + CONFIG)
        if isinstance(entry, pygit2.Blob):
            return bytes(entry.data), above + CONFIG
    raise SettingsError(
        f"is not in git at {revision[:8]}",
        file=mirror.place(CONFIG),
        next_step="run `dvc init` and `dvc remote add -d NAME URL`, and commit .dvc/config",
    )


def _refuse_relative(name: str, settings: dict[str, Any], place: str) -> None:
    from dvc.config_schema import RelPath

    for key, value in settings.items():
        if isinstance(value, RelPath):
            raise SettingsError(
                f"the remote {name!r} has a relative path as its {key}, which is undefined outside a clone",
                file=place,
                next_step="set an absolute path or a URL: `dvc remote modify NAME url ...`, and commit it",
            )


def _translate(error: Exception, name: str, secrets: Iterable[str]) -> ConceptryError | None:
    """Translate a storage client's error; None for a bug."""
    words = str(error) or type(error).__name__
    for secret in secrets:
        words = words.replace(secret, "***")

    def message(what: str) -> str:
        return f"the DVC remote {name!r} {what}: {words}"

    # gcsfs has no exception class for 403, only this text.
    denied = isinstance(error, PermissionError) or str(error).startswith("Forbidden")
    if denied or _status(error) in _DENIED or type(error).__name__ in ("DefaultCredentialsError", "RefreshError"):
        return SettingsError(message("refuses access"), next_step="check the credentials that DVC uses for it")
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS:
        return TransientError(message("cannot be reached"))
    return None


def _status(error: Exception) -> int | None:
    for name in ("status", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            return int(value)
    return None
