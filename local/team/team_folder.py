"""Folder of a team's set-up, and the file with its settings and secrets.

ROOT/team.toml               settings, ports and secrets; readable by the user who starts the set-up only
ROOT/trusted.pem             certificates that clients trust: the set-up's own authority and the public ones
ROOT/postgres/data/          PostgreSQL's cluster
ROOT/postgres/socket/        its socket; it listens on no port
ROOT/hub/accounts.yaml       accounts of the Hub
ROOT/hub/root/               repos and objects of the Hub
ROOT/proxy/                  nginx.conf, certificate and key
ROOT/worker-a/, worker-b/    `work` is CONCEPTRY_WORK
ROOT/SERVICE/home/, tmp/     HOME and TMPDIR of a service
ROOT/logs/                   one log a service

What a service may write belongs to its user, everything else to the user who starts the set-up.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from conceptry.errors import SettingsError
from conceptry.git_address import split_login
from local.settings_folder import SettingsFolder
from local.team.certificates import trust_variables

WORKERS = ("worker-a", "worker-b")
SERVICES = ("postgres", "prefect", "hub", "proxy", *WORKERS)
OWNER = "team"
"""Account on the Hub that owns the concepts' repos."""
_SOCKET_LENGTH = 100
"""Characters that the path of a Unix socket may have, less than the kernel's 107."""


def _secret() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class TeamSetup:
    """Content of `team.toml`. `host` is the name at which nginx is reached; all ports are on 127.0.0.1."""

    repo: str
    repo_login: str = field(default="", repr=False)
    branch: str = "main"
    path: str = ""
    host: str = "localhost"
    prefect_tls_port: int = 4443
    hub_tls_port: int = 4444
    prefect_port: int = 4210
    hub_port: int = 4211
    separate_users: bool = False
    database_password: str = field(default_factory=_secret, repr=False)
    prefect_auth: str = field(default_factory=lambda: f"team:{_secret()}", repr=False)
    hub_token: str = field(default_factory=lambda: f"hf_{_secret()}", repr=False)
    space_token: str = field(default_factory=lambda: f"hf_{_secret()}", repr=False)

    def __post_init__(self) -> None:
        address, login = split_login(self.repo)
        object.__setattr__(self, "repo", address)
        if login is not None:
            object.__setattr__(self, "repo_login", login.get_secret_value())

    @property
    def prefect_url(self) -> str:
        """Address of Prefect's UI, behind nginx."""
        return f"https://{self.host}:{self.prefect_tls_port}"

    @property
    def hub_url(self) -> str:
        """Address of the Hub, behind nginx."""
        return f"https://{self.host}:{self.hub_tls_port}"


@dataclass(frozen=True)
class TeamFolder(SettingsFolder):
    """Paths of a team's set-up."""

    FILE = "team.toml"

    @classmethod
    def at(cls, root: Path) -> TeamFolder:
        """Return the folder at `root`, which does not have to exist.

        Raises:
            SettingsError: the path is too long for PostgreSQL's socket.
        """
        folder = cls(root.expanduser().resolve())
        if len(str(folder.socket)) > _SOCKET_LENGTH - len("/.s.PGSQL.5432"):
            raise SettingsError(f"{folder.root} is too long for the socket of PostgreSQL", next_step="shorten --root")
        return folder

    @property
    def trusted(self) -> Path:
        """Certificates that clients trust."""
        return self.root / "trusted.pem"

    @property
    def data(self) -> Path:
        """PostgreSQL's cluster."""
        return self.root / "postgres" / "data"

    @property
    def socket(self) -> Path:
        """Folder of PostgreSQL's socket."""
        return self.root / "postgres" / "socket"

    @property
    def hub(self) -> Path:
        """Root of the Hub."""
        return self.root / "hub" / "root"

    @property
    def accounts(self) -> Path:
        """Accounts of the Hub."""
        return self.root / "hub" / "accounts.yaml"

    @property
    def certificate(self) -> Path:
        """Certificate of nginx."""
        return self.root / "proxy" / "server.pem"

    @property
    def key(self) -> Path:
        """Key of the certificate."""
        return self.root / "proxy" / "server.key"

    @property
    def nginx(self) -> Path:
        """Configuration of nginx."""
        return self.root / "proxy" / "nginx.conf"

    def home(self, service: str) -> Path:
        """Return HOME of a service."""
        return self.root / service / "home"

    def temporary(self, service: str) -> Path:
        """Return TMPDIR of a service; Prefect's workers of two users cannot share one, for its runner_storage."""
        return self.root / service / "tmp"

    def work(self, worker: str) -> Path:
        """Return the scratch folder of a worker."""
        return self.root / worker / "work"

    @property
    def results(self) -> Path:
        """Results of steps of trainings, which all workers share."""
        return self.root / "results"

    def read(self) -> TeamSetup:
        """Return the remembered set-up.

        Raises:
            SettingsError: there is none, or its file cannot be read.
        """
        if not self.exists():
            raise SettingsError(f"there is no team's set-up in {self.root}", next_step="`make team` makes one")
        return self.load(TeamSetup, repair="correct it, or restore a backup")

    def write(self, setup: TeamSetup) -> None:
        """Write `setup` to the settings file."""
        self.save("Written by Conceptry. `make team` runs this set-up; it contains secrets.", vars(setup))


def client_variables(folder: TeamFolder, setup: TeamSetup) -> dict[str, str]:
    """Return the variables of everything that uses the set-up: a worker, `conceptry deploy`, a user's commands."""
    given = {
        "PREFECT_API_URL": f"{setup.prefect_url}/api",
        "PREFECT_API_AUTH_STRING": setup.prefect_auth,
        # While PostgreSQL is away, the server answers 500; Prefect's clients then try again only if told so.
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
        "CONCEPTRY_REPO": setup.repo,
        "CONCEPTRY_REPO_LOGIN": setup.repo_login,
        "CONCEPTRY_BRANCH": setup.branch,
        "CONCEPTRY_PATH": setup.path,
        "CONCEPTRY_HUB_ENDPOINT": setup.hub_url,
        "CONCEPTRY_HUB_OWNER": OWNER,
        "CONCEPTRY_HUB_TOKEN": setup.hub_token,
        "CONCEPTRY_SPACE_TOKEN": setup.space_token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
    }
    return {name: value for name, value in given.items() if value} | trust_variables(folder.trusted)
