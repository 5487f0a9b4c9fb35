"""Rules for a DVC remote whose configuration comes in part from git, and in part from this machine.

DVC merges `.dvc/config` of git with the machine's own configuration (`dvc config --system` and `--global`) by the
remote's name. A commit could therefore send the machine's credentials to another host. They are used only where the
machine decides where to:

1. Credentials in the machine's configuration of a remote are bound to the address that it names there itself. Scheme,
   host (the bucket, of a bucket) and port must be those of git, and so must every other key that decides the host.
2. Files and commands of the machine (`keyfile`, `credentialpath`, `bearer_token_command`, ...) are not taken from git.
3. Credentials of the environment (Google, Azure, AWS) go to the vendor's own host, of Azure to no account, unless the
   machine's configuration names the other one. AWS's requests are signed, but carry the key's id and a session token.
   ssh sends no secret, so its agent and keys stay in effect.
4. Nothing may ask on a terminal.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from conceptry.errors import SettingsError
from conceptry.git_address import without_login

Section = Mapping[str, Any]
Sections = Mapping[str, Section]

# Keys that are a secret, or unlock one.
CREDENTIALS = frozenset(
    {
        "password", "token", "custom_auth_header", "access_key_id", "secret_access_key", "session_token", "profile",
        "passphrase", "kerb_ticket", "connection_string", "sas_token", "account_key", "client_secret", "oss_key_id",
        "oss_key_secret", "sse_customer_key", "gdrive_client_secret", "gss_auth", "kerberos", "kerberos_principal",
    }
)  # fmt: skip
# Keys that name a file of this machine, or a command that runs on it.
_FILES = frozenset(
    {
        "keyfile", "credentialpath", "configpath", "cert_path", "key_path", "gdrive_user_credentials_file",
        "gdrive_service_account_json_file_path", "bearer_token_command",
    }
)  # fmt: skip
# Keys besides `url` that decide which host gets the credentials, or whether it proves to be that host.
_PLACES = (
    "endpointurl", "port", "oss_endpoint", "account_name", "proxy_to", "data_proxy_target", "use_ssl", "use_https",
    "ssl_verify",
)  # fmt: skip
_PORTS = {"http": 80, "https": 443, "webdav": 80, "webdavs": 443, "ssh": 22}


def check_remote(name: str, machine: Sections, git: Sections, place: str) -> None:
    """Check the remote `name`, and those that it refers to with `remote://`.

    Args:
        name: Name of the remote.
        machine: Sections of remotes in this machine's configuration.
        git: Sections of remotes in `.dvc/config`.
        place: File and commit, for messages.

    Raises:
        SettingsError: the machine's credentials would go where git says, or DVC would ask on a terminal; the message
            says what differs, without a secret, and which commands change it.
    """
    merged = {one: {**machine.get(one, {}), **git.get(one, {})} for one in {*machine, *git}}
    remote = _resolve(merged, name)
    for one in _chain(merged, name):
        own, theirs = machine.get(one, {}), git.get(one, {})
        bound = _differences(_resolve(machine, one), remote)
        used = [key for key in own if key in CREDENTIALS | _FILES and theirs.get(key, own[key]) == own[key]]
        if used and bound:
            raise _unbound(one, f"its {_list(used)} in this machine's DVC configuration", bound, remote, place)
        foreign = [key for key in theirs if key in _FILES and theirs[key] != own.get(key)]
        if foreign:
            raise _from_git(one, foreign, theirs, remote, place)
    if _sends_environment(remote):
        differing = _differences(_resolve(machine, name), remote)
        if differing:
            raise _unbound(name, "the cloud credentials of this machine", differing, remote, place)
    _refuse_questions(name, remote, place)


def _chain(sections: Sections, name: str) -> Iterator[str]:
    """Yield a remote's name and those that it refers to."""
    seen: set[str] = set()
    one: str | None = name.lower()
    while one and one not in seen:
        seen.add(one)
        yield one
        url = urlsplit(str(sections.get(one, {}).get("url", "")))
        one = url.netloc.lower() if url.scheme == "remote" else None


def _resolve(sections: Sections, name: str) -> dict[str, Any]:
    """Return a remote's keys with those of the remotes that it refers to; its url is that of the last one."""
    found: dict[str, Any] = {}
    for one in _chain(sections, name):
        section = sections.get(one, {})
        found = {**section, **found, "url": section.get("url", "")}
    return found


def _where(remote: Section) -> dict[str, str]:
    """Return the keys that decide where a remote is."""
    url = urlsplit(str(remote.get("url", "")))
    scheme = url.scheme.lower()
    found = {"url": f"{scheme}://{url.hostname or ''}:{url.port or _PORTS.get(scheme)}" if scheme else ""}
    for key in _PLACES:
        if remote.get(key) is not None:
            found[key] = str(remote[key]).lower().rstrip("/")
    return found


def _differences(own: Section, merged: Section) -> dict[str, tuple[Any, Any]]:
    """Return the keys that decide the host and differ, with the machine's value and the effective one."""
    here, there = _where(own), _where(merged)
    return {
        key: (own.get(key), merged.get(key))
        for key in ("url", *_PLACES)
        if here.get(key) != there.get(key)
    }  # fmt: skip


def _sends_environment(remote: Section) -> bool:
    """Whether credentials of the environment go to a host or an account that the configuration names."""
    if _is_true(remote.get("allow_anonymous_login")):
        return False
    scheme = urlsplit(str(remote.get("url", ""))).scheme
    if scheme == "gs":
        return bool(remote.get("endpointurl"))
    if scheme == "s3":
        own_key = remote.get("access_key_id") and remote.get("secret_access_key")
        return bool(remote.get("endpointurl")) and not own_key
    own_secret = any(remote.get(key) for key in ("connection_string", "sas_token", "account_key", "client_secret"))
    return scheme == "azure" and bool(remote.get("account_name")) and not own_secret


def _refuse_questions(name: str, remote: Section, place: str) -> None:
    for question, answer in (("ask_password", "password"), ("ask_passphrase", "passphrase")):
        if _is_true(remote.get(question)) and not remote.get(answer):
            commands = [f"dvc remote modify --global {name} {key} {value}" for key, value in (
                ("url", _shown(remote.get("url"))), (answer, "...")
            )]  # fmt: skip
            raise SettingsError(
                f"the remote {name!r} asks for a {answer} on a terminal ({question} = true), and flows have none",
                file=place,
                next_step=f"on this machine, run {_code(commands)}",
            )
    if urlsplit(str(remote.get("url", ""))).scheme == "gdrive" and not (
        _is_true(remote.get("gdrive_use_service_account")) or os.environ.get("GDRIVECREDENTIALS_DATA")
    ):
        commands = [
            f"dvc remote modify --global {name} url {_shown(remote.get('url'))}",
            f"dvc remote modify --global {name} gdrive_use_service_account true",
            f"dvc remote modify --global {name} gdrive_service_account_json_file_path FILE",
        ]
        raise SettingsError(
            f"the remote {name!r} would ask for a login in a browser, and flows have none",
            file=place,
            next_step=f"use a service account: on this machine, run {_code(commands)}",
        )


def _unbound(
    name: str, what: str, differing: Mapping[str, tuple[Any, Any]], remote: Section, place: str
) -> SettingsError:
    said = "; ".join(
        f"{key} is {_shown(there)} with git, and {_shown(here)} in the machine's own"
        for key, (here, there) in differing.items()
    )
    return SettingsError(
        f"the remote {name!r} would send {what} to an address that git names: {said}",
        file=place,
        next_step=f"if that address is right, run on this machine {_code(_binding(name, differing, remote))}",
    )


def _from_git(name: str, keys: list[str], theirs: Section, remote: Section, place: str) -> SettingsError:
    commands = [f"dvc remote modify --global {name} url {_shown(remote.get('url'))}"]
    commands += [f"dvc remote modify --global {name} {key} {shlex.quote(str(theirs[key]))}" for key in keys]
    return SettingsError(
        f"the remote {name!r} names files or commands of this machine in git ({_list(keys)}), for an address in git",
        file=place,
        next_step=f"if both are right, run on this machine {_code(commands)}",
    )


def _binding(name: str, differing: Mapping[str, tuple[Any, Any]], remote: Section) -> Iterator[str]:
    for key, (_, there) in differing.items():
        if there is None:
            yield f"dvc remote modify --global --unset {name} {key}"
        else:
            yield f"dvc remote modify --global {name} {key} {_shown(remote.get(key))}"


def _shown(value: Any) -> str:
    return "not set" if value is None or value == "" else shlex.quote(without_login(str(value)))


def _list(keys: list[str]) -> str:
    return ", ".join(sorted(keys))


def _code(commands: Any) -> str:
    return " and ".join(f"`{command}`" for command in commands)


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
