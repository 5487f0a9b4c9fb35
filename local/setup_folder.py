"""Folder of an embedded set-up, and the file with its settings.

ROOT/conceptry.toml      settings and ports; every command with `--root ROOT` reads it
ROOT/hub/                the local Hub: bare git repos and LFS objects
ROOT/prefect/            Prefect's database and results
ROOT/work/               scratch of the flows: images, records and checkpoints of each run
ROOT/cloud/              with `--cloud-emulated`: jobs, buckets and keys of the emulated Google Cloud
ROOT/logs/               hub.log, prefect.log, flows.log
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conceptry.errors import SettingsError
from conceptry.git_address import split_login
from conceptry.installation_id import installation_id
from conceptry.moved_path import moved_path
from conceptry.settings import Settings
from conceptry.vertex_settings import PREFIX, VertexSettings
from local.settings_folder import SettingsFolder
from local.sign_in import sign_in_link

DEFAULT_ROOT = Path(".conceptry")
HUB_PORT, PREFECT_PORT = 4280, 4200
VERTEX_PORT, CLOUD_PORT, STORAGE_PORT = 4270, 4271, 4272
CLOUD_PROJECT = CLOUD_BUCKET = "conceptry-local"
"""Project and bucket of the emulated cloud."""
CLOUD_IMAGE = f"us-central1-docker.pkg.dev/{CLOUD_PROJECT}/conceptry/trainer@sha256:" + "0" * 64
"""Image that is unknown to the emulated cloud, which then runs jobs in the environment of its own process."""
LOCAL_OWNER, LOCAL_TOKEN, LOCAL_READ_TOKEN = "local", "hf_local", "hf_local_read"
"""Default account of the local Hub, and its tokens that may write and read."""

_OF_AN_ACCOUNT = {"hub_token_block"}
"""Settings beside those of a set-up that name an account: its accounts are its own."""
_HEADER = "Written by Conceptry. `conceptry up --root {root}` opens this folder; other commands take the same --root."


@dataclass(frozen=True)
class Folder(SettingsFolder):
    """Paths of an embedded set-up."""

    FILE = "conceptry.toml"

    @classmethod
    def at(cls, root: Path) -> Folder:
        """Return the folder at `root`, which does not have to exist."""
        return cls(root.expanduser().resolve())

    @property
    def hub(self) -> Path:
        """Folder of the local Hub."""
        return self.root / "hub"

    @property
    def prefect(self) -> Path:
        """PREFECT_HOME."""
        return self.root / "prefect"

    @property
    def work(self) -> Path:
        """Scratch folder of the flows."""
        return self.root / "work"

    @property
    def cloud(self) -> Path:
        """Folder of the emulated Google Cloud."""
        return self.root / "cloud"

    def read(self) -> Setup:
        """Return the remembered set-up.

        Raises:
            SettingsError: there is no set-up, or its file cannot be read.
        """
        if not self.exists():
            raise SettingsError(
                f"there is no set-up in {self.root}",
                next_step=f"`conceptry up --root {self.root}` makes one for the git repository you are in, "
                "`conceptry demo` makes one with a story in it",
            )

        def as_it_is_here(**settings: Any) -> Setup:
            return Setup(**settings).named_now().moved_to(self.root)

        return self.load(as_it_is_here, repair="correct it or delete it")

    def write(self, setup: Setup) -> None:
        """Write `setup` to the settings file."""
        setup = replace(setup.named_now(), root=str(self.root))
        self.save(_HEADER.format(root=self.root.name), vars(setup))


@dataclass(frozen=True)
class Setup:
    """Content of `conceptry.toml`. `watch_every` is in seconds; ports are on 127.0.0.1.

    `path` is the folder of the repository with concepts/ in it; empty for its top.

    `prefect_auth` is the auth string of the Prefect server, made when it first starts; a server of an earlier release
    has none. A login in `repo` is moved to `repo_login`, so that the address can be printed.

    `base_dir` is the folder of base model weights; empty for the one that the environment names.

    `root` is the folder when the file was written, which is another one after it was moved. `installation` is the id of
    the installation, kept when the folder is moved or the Hub gets another port; it is for the account, the repository
    and the branch in `named`, and another one once they are edited.
    """

    repo: str
    repo_login: str = field(default="", repr=False)
    branch: str = "main"
    path: str = ""
    hub_owner: str = LOCAL_OWNER
    hub_token: str = field(default=LOCAL_TOKEN, repr=False)
    hub_port: int = HUB_PORT
    prefect_port: int = PREFECT_PORT
    prefect_auth: str = field(default="", repr=False)
    watch_every: int = 30
    backend: str = "local"
    max_parallel: int = 1
    cloud_emulated: bool = False
    vertex_port: int = VERTEX_PORT
    cloud_port: int = CLOUD_PORT
    storage_port: int = STORAGE_PORT
    base_dir: str = ""
    root: str = ""
    installation: str = ""
    named: str = ""

    def __post_init__(self) -> None:
        address, login = split_login(self.repo)
        object.__setattr__(self, "repo", address)
        if login is not None:
            object.__setattr__(self, "repo_login", login.get_secret_value())

    @property
    def naming(self) -> str:
        """What the id of the installation is for: account, repository, branch, and folder in it."""
        return f"{self.hub_owner} {self.repo} {self.branch} {self.path}".rstrip()

    @property
    def identity(self) -> str:
        """Id of the installation."""
        if self.installation and self.named == self.naming:
            return self.installation
        return installation_id(self.hub_endpoint, self.hub_owner, self.repo, self.branch, path=self.path)

    def named_now(self) -> Setup:
        """Return the set-up with its present id, which it keeps from then on."""
        return replace(self, installation=self.identity, named=self.naming)

    def moved_to(self, root: Path) -> Setup:
        """Return the set-up with its paths as they are after its folder was moved to `root`, and with the same id."""
        base_dir = moved_path(self.base_dir, self.root, root) if self.base_dir else ""
        moved = replace(self, repo=moved_path(self.repo, self.root, root), base_dir=base_dir)
        return replace(moved, named=moved.naming)

    @property
    def cloud_pages(self) -> str:
        """Address of the emulated cloud's HTTP server."""
        return f"http://127.0.0.1:{self.cloud_port}"

    @property
    def hub_endpoint(self) -> str:
        """Address of the local Hub."""
        return f"http://127.0.0.1:{self.hub_port}"

    @property
    def prefect_ui(self) -> str:
        """Address of the Prefect server."""
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def prefect_api(self) -> str:
        """PREFECT_API_URL."""
        return f"{self.prefect_ui}/api"

    @property
    def prefect_sign_in(self) -> str:
        """Address that signs a browser in to Prefect's UI."""
        return sign_in_link(self.prefect_ui, self.prefect_auth) if self.prefect_auth else self.prefect_ui

    def settings(self, folder: Folder) -> dict[str, Any]:
        """Return the settings of the installation, by field."""
        return {
            "repo": self.repo,
            "repo_login": self.repo_login or None,
            "branch": self.branch,
            "path": self.path,
            "installation": self.identity,
            "work": folder.work,
            "hub_endpoint": self.hub_endpoint,
            "hub_owner": self.hub_owner,
            "hub_token": self.hub_token,
            "space_token": LOCAL_READ_TOKEN,
            "backend": "vertex" if self.cloud_emulated else self.backend,
            "max_parallel": self.max_parallel,
            "results_bucket": None,
            "results_folder": None,
            # Its Prefect server is its own.
            "deployment_suffix": "",
            **({"base_dir": Path(self.base_dir)} if self.base_dir else {}),
        }

    def vertex_settings(self) -> dict[str, Any]:
        """Return the settings of the emulated Vertex AI, by field; empty without one."""
        if not self.cloud_emulated:
            return {}
        return {
            "project": CLOUD_PROJECT,
            "image": CLOUD_IMAGE,
            "api_endpoint": f"localhost:{self.vertex_port}",
            "google_apis": self.cloud_pages,
            "console": self.cloud_pages,
            "poll_seconds": 1,
            # Its Prefect server is its own, whatever suffix the environment names.
            "credentials": "conceptry",
            "bucket": "conceptry",
            # Its jobs run on this machine.
            **({"base": self.base_dir} if self.base_dir else {}),
        }

    def google_variables(self, folder: Folder) -> dict[str, str]:
        """Return the environment variables that lead Google's clients to the emulated cloud; empty without one."""
        if not self.cloud_emulated:
            return {}
        return {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self.storage_port}",
            # Otherwise gcsfs waits forever for the bucket's storage layout, which an emulator does not provide.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(folder.cloud / "keys" / "localhost.pem"),
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.cloud_key(folder)),
        }

    def variables(self, folder: Folder) -> dict[str, str]:
        """Return the set-up as environment variables, for child processes, with this process's other settings.

        As for a command, what the set-up does not say comes from the environment.
        """
        settings, vertex = self.settings(folder), self.vertex_settings()
        others = _variables("CONCEPTRY_", Settings.model_fields.keys() - settings.keys() - _OF_AN_ACCOUNT)
        if vertex:
            others |= _variables(PREFIX, VertexSettings.model_fields.keys() - vertex.keys())
        ours = {f"CONCEPTRY_{name.upper()}": str(value) for name, value in settings.items() if value}
        ours |= {f"{PREFIX}{name.upper()}": str(value) for name, value in vertex.items()}
        return others | ours | self.google_variables(folder)

    def cloud_key(self, folder: Folder) -> Path:
        """Return the path of the service account's key, which the emulated cloud writes at its start."""
        return folder.cloud / "keys" / "service-account.json"


def _variables(prefix: str, fields: Iterable[str]) -> dict[str, str]:
    """Return the variables of these settings that are set in this process's environment."""
    names = (f"{prefix}{name.upper()}" for name in fields)
    return {name: os.environ[name] for name in names if name in os.environ}
