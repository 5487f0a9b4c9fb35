"""System users of a team's set-up: one a service, so that none of them reads the files of another.

Only root can create users and start processes as them. Without root every service runs as the current user.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conceptry.errors import SettingsError
from local.team.programs import find_programs

PREFIX = "conceptry-"
"""How the names of the users begin; the name of the service follows."""
OF_POSTGRES = "postgres"
"""User of Debian's package, for root without users of its own: PostgreSQL's server refuses to run as root."""


@dataclass(frozen=True)
class SystemUsers:
    """Which user a service runs as; with `separate`, a user of its own."""

    separate: bool

    def user(self, service: str) -> str | None:
        """Return the name of the user of a service; None for the current one."""
        if self.separate:
            return PREFIX + service
        return OF_POSTGRES if service == "postgres" and os.geteuid() == 0 else None

    def as_user(self, service: str, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` as the user of a service, in the same process."""
        user = self.user(service)
        if user is None:
            return list(command)
        return [find_programs(["setpriv"])["setpriv"], f"--reuid={user}", f"--regid={_group(user)}", "--init-groups",
                "--", *command]  # fmt: skip

    def own(self, service: str, place: Path, mode: int = 0o700) -> None:
        """Give a folder or a file to the user of a service, unless it is that user's; create a folder that is missing.

        The folder above belongs to the current user, so that no service can put a link in its place.
        """
        if not place.exists():
            place.mkdir(parents=True)
            place.chmod(mode)
        user = self.user(service)
        entry = None if user is None else pwd.getpwnam(user)
        if entry is None or place.stat().st_uid == entry.pw_uid:
            return
        found = [Path(above, name) for above, *inside in os.walk(place) for names in inside for name in names]
        for path in (place, *found):
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def create(self, services: Sequence[str]) -> list[str]:
        """Create the users that do not exist, without a login; return their names.

        Raises:
            SettingsError: a user cannot be created.
        """
        new = [user for user in map(self.user, services) if user is not None and not _exists(user)]
        for user in new:
            command = [find_programs(["useradd"])["useradd"], "--system", "--user-group", "--no-create-home"]
            command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", user]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise SettingsError(
                    f"the user {user} cannot be created: {done.stderr.strip()}",
                    next_step="create it, or use --one-user",
                )
        return new

    def share(self, services: Sequence[str], folder: Path) -> None:
        """Make a folder that the users of these services can write, and no other user.

        The first one's group has it, and the others are added to that group.

        Raises:
            SettingsError: a user cannot be added.
        """
        folder.mkdir(parents=True, exist_ok=True)
        users = [user for user in map(self.user, services) if user is not None]
        if not self.separate:
            folder.chmod(0o700)
            return
        owner = pwd.getpwnam(users[0])
        group = grp.getgrgid(owner.pw_gid)
        for user in users[1:]:
            if user not in group.gr_mem:
                command = [find_programs(["usermod"])["usermod"], "--append", "--groups", group.gr_name, user]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != 0:
                    what = f"the user {user} cannot be added to the group {group.gr_name}: {done.stderr.strip()}"
                    raise SettingsError(what, next_step="add it, or use --one-user")
        os.chown(folder, 0, owner.pw_gid)
        folder.chmod(0o2770)

    def check_access(self, service: str, folder: Path) -> None:
        """Check that the user of a service can read the code and its folder.

        Raises:
            SettingsError: it cannot, for example because Python or the checkout is in the home of another user.
        """
        if not self.separate:
            return
        # The program alone says nothing: the user may be unable to read its library, and gets that of another Python.
        version = f"sys.version == {sys.version!r}, 'the libraries of this Python cannot be read'"
        code = f"import conceptry.errors, os, sys; os.chdir({str(folder)!r}); assert {version}"
        environment = {"PATH": os.defpath} | {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
        command = self.as_user(service, [sys.executable, "-P", "-c", code])
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
        if done.returncode != 0:
            raise SettingsError(
                f"the user {self.user(service)} cannot use {sys.executable} or {folder}: {_last_line(done.stderr)}",
                next_step="put checkout, Python and --root where every user may read, for example below /opt and /srv; "
                "or use --one-user",
            )


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def _exists(user: str) -> bool:
    with suppress(KeyError):
        pwd.getpwnam(user)
        return True
    return False


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
