"""Services of a team's set-up, started and stopped together.

They start in the order PostgreSQL, Prefect server and Hub, nginx, `conceptry deploy`, workers, and stop in the reverse
order, so that the server can record the final states of runs.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

import yaml

from conceptry.errors import ConceptryError, SettingsError
from conceptry.settings import PREFIX
from local.child_process import Child, answers, clean_environment, free_port
from local.hub_config import hub_arguments
from local.server_group import START_TIMEOUT, ServerGroup, says
from local.team.certificates import make_certificates
from local.team.postgres import SERVICE as POSTGRES
from local.team.postgres import Postgres, database_url
from local.team.programs import AS_ROOT, PACKAGES, find_programs
from local.team.system_users import SystemUsers
from local.team.team_folder import OWNER, SERVICES, WORKERS, TeamFolder, TeamSetup, client_variables
from tasks.file_io import write_atomically
from tasks.git import is_local
from tasks.processes import python_module, run_to_end

NGINX_TEMPLATE = Path(__file__).with_name("nginx.conf.template")

_NGINX = """\
daemon off;
pid {home}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
access_log off;
client_body_temp_path {home}/temp;
proxy_temp_path {home}/temp;
fastcgi_temp_path {home}/temp;
uwsgi_temp_path {home}/temp;
scgi_temp_path {home}/temp;
{servers}}}
"""


_POOL = "conceptry"


class TeamServers(ServerGroup):
    """Services of one root folder.

    Args:
        folder: Folder of the set-up.
        setup: The set-up to run.
        report: Called with a few words when a service is ready.
    """

    def __init__(self, folder: TeamFolder, setup: TeamSetup, report: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(folder.root, folder.lock, report, report)
        self.folder, self.setup = folder, setup
        self.users = SystemUsers(setup.separate_users)
        find_programs([*PACKAGES, *(AS_ROOT if setup.separate_users or os.geteuid() == 0 else ())])
        self.postgres = Postgres(folder, self.users)

    def start(self) -> TeamSetup:
        """Start all services and return the set-up with their ports.

        Raises:
            ConceptryError: a service did not start; leaving the `with` block stops the others.
        """
        self.prepare()
        self.configure()
        self.start_postgres()
        prefect = self._prefect()
        self._begin(prefect)
        self.start_hub()
        self._await(prefect)
        if not self.postgres.sql(f"SELECT name FROM work_pool WHERE name = '{_POOL}';"):
            self._run_as(WORKERS[0], python_module("cli", "setup", "pool", "process"))
        self._run_as(WORKERS[0], python_module("cli", "deploy"))
        if is_local(self.setup.repo):
            # The origin belongs to another user, which git refuses otherwise.
            for worker in WORKERS:
                git = find_programs(["git"])["git"]
                self._run_as(worker, [git, "config", "--global", "--replace-all", "safe.directory", self.setup.repo])
        for child in (workers := [self._worker(name) for name in WORKERS]):
            self._begin(child)
        for child in workers:
            self._await(child)
        return self.setup

    def prepare(self) -> None:
        """Hold the set-up's lock, create users and folders, and check that the users can use them.

        Raises:
            SettingsError: they cannot. StackError: the set-up runs already.
        """
        self.folder.root.mkdir(parents=True, exist_ok=True)
        self.open_alone()
        self.folder.logs.mkdir(mode=0o700, exist_ok=True)
        for user in self.users.create(SERVICES):
            self._report(f"created the system user {user}")
        for service in SERVICES:
            self.users.own(service, self.folder.home(service))
            self.users.own(service, self.folder.temporary(service))
        for worker in WORKERS:
            self.users.own(worker, self.folder.work(worker))
        self.users.share(WORKERS, self.folder.results)
        self.users.own("hub", self.folder.hub)
        self.users.own(POSTGRES, self.folder.data)
        self.users.own(POSTGRES, self.folder.socket, mode=0o755)
        self.users.check_access(WORKERS[0], self.folder.work(WORKERS[0]))

    def configure(self) -> None:
        """Choose ports, and write the settings, the configuration of nginx and the Hub's accounts.

        Raises:
            SettingsError: a port of nginx is in use, and the set-up was started before: the Hub's address is part of
                the installation's id, by which it knows its deployments and repos.
        """
        self.setup = self._with_free_ports()
        self.folder.write(self.setup)
        self._write_configuration()

    def start_postgres(self) -> None:
        """Start PostgreSQL, with Prefect's database in it.

        Raises:
            ConceptryError: it does not start.
        """
        self.postgres.create_cluster()
        command, log = self.postgres.command(), self.folder.logs / "postgres.log"
        environment = clean_environment() | {"LC_ALL": "C.UTF-8"}
        self._start(Child("PostgreSQL", command, environment, log, self.postgres.is_ready, Path("/")))
        self.postgres.create_database(self.setup.database_password)

    def start_hub(self) -> None:
        """Start the Hub, and nginx in front of it and of the Prefect server.

        Raises:
            StackError: one of them does not start.
        """
        self._start(self._hub())
        self._start(self._proxy())

    def _start(self, child: Child) -> None:
        self._begin(child)
        self._await(child)

    def _with_free_ports(self) -> TeamSetup:
        wanted = {name: port for name, port in vars(self.setup).items() if name.endswith("_port")}
        ports: dict[str, Any] = {name: free_port(port) for name, port in wanted.items()}
        for name, port in ports.items():
            if port == wanted[name]:
                continue
            if name.endswith("_tls_port") and self.folder.exists():
                raise SettingsError(f"port {wanted[name]} is in use by another process", next_step="end that process")
            self._report(f"port {wanted[name]} is in use by another process: {port} instead")
        return replace(self.setup, **ports)

    def _write_configuration(self) -> None:
        setup, folder = self.setup, self.folder
        make_certificates(setup.host, folder.certificate, folder.key, folder.trusted)
        self.users.own("proxy", folder.key)
        names = {
            "HOST": setup.host,
            "PREFECT_LISTEN": f"127.0.0.1:{setup.prefect_tls_port}",
            "HUB_LISTEN": f"127.0.0.1:{setup.hub_tls_port}",
            "PREFECT_UPSTREAM": f"127.0.0.1:{setup.prefect_port}",
            "HUB_UPSTREAM": f"127.0.0.1:{setup.hub_port}",
            "TLS_CERTIFICATE": folder.certificate,
            "TLS_KEY": folder.key,
        }
        servers = Template(NGINX_TEMPLATE.read_text(encoding="utf-8")).safe_substitute(names)
        text = _NGINX.format(home=folder.home("proxy"), servers=servers)
        write_atomically(folder.nginx, text.encode())
        accounts = [
            {"name": OWNER, "token": setup.hub_token, "role": "write"},
            {"name": "reader", "token": setup.space_token, "role": "read", "organizations": [{"name": OWNER}]},
        ]
        write_atomically(folder.accounts, yaml.safe_dump(accounts).encode(), mode=0o600)
        self.users.own("hub", folder.accounts)

    def _child(
        self, title: str, service: str, command: list[str], variables: Mapping[str, str], ready: Callable[[], bool]
    ) -> Child:
        """Return the child process of a service, with its own HOME, and its log in ROOT/logs."""
        home = self.folder.home(service)
        quiet = {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "DO_NOT_TRACK": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment = (
            clean_environment()
            | quiet
            | {"HOME": str(home), "TMPDIR": str(self.folder.temporary(service)), "PREFECT_HOME": str(home / ".prefect")}
        )
        log = self.folder.logs / f"{service}.log"
        return Child(title, self.users.as_user(service, command), {**environment, **variables}, log, ready, home)

    def _prefect(self) -> Child:
        setup = self.setup
        variables = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url(self.folder, setup),
            "PREFECT_SERVER_API_AUTH_STRING": setup.prefect_auth,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": setup.prefect_url,
            "PREFECT_SERVER_UI_API_URL": f"{setup.prefect_url}/api",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        }
        command = python_module("local.prefect_server", "--port", str(setup.prefect_port))
        health = f"http://127.0.0.1:{setup.prefect_port}/api/health"
        return self._child("Prefect", "prefect", command, variables, lambda: answers(health))

    def _hub(self) -> Child:
        setup = self.setup
        command = python_module(*hub_arguments(self.folder.hub, "127.0.0.1", setup.hub_port))
        # Spaces would run here with the rights of the Hub, on ports without TLS.
        command += ["--accounts", str(self.folder.accounts), "--public-url", setup.hub_url, "--no-run"]
        health = f"http://127.0.0.1:{setup.hub_port}/healthz"
        return self._child("the Hub", "hub", command, {}, lambda: answers(health))

    def _proxy(self) -> Child:
        command = [find_programs(["nginx"])["nginx"], "-e", "stderr", "-c", str(self.folder.nginx)]
        ports = (self.setup.prefect_tls_port, self.setup.hub_tls_port)
        return self._child("nginx", "proxy", command, {}, lambda: all(map(_listens, ports)))

    def _worker(self, name: str) -> Child:
        command = python_module("cli", "worker")
        return says("started!", self._child(name, name, command, self._worker_variables(name), bool))

    def _worker_variables(self, name: str) -> dict[str, str]:
        others = {key: value for key, value in os.environ.items() if key.startswith(PREFIX)}
        others.pop(f"{PREFIX}DEPLOYMENT_SUFFIX", None)  # this Prefect server is the set-up's own
        own = {"CONCEPTRY_WORK": str(self.folder.work(name)), "CONCEPTRY_RESULTS_FOLDER": str(self.folder.results)}
        return others | client_variables(self.folder, self.setup) | own

    def _run_as(self, worker: str, command: list[str]) -> None:
        """Run a command with the user and the environment of a worker.

        Raises:
            ConceptryError: it failed.
        """
        child = self._child("", worker, command, self._worker_variables(worker), bool)
        done = run_to_end(child.command, timeout=START_TIMEOUT, environment=child.environment, folder=child.folder)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace").strip()
            shown = shlex.join(command).removeprefix(shlex.join(python_module("cli")))
            raise ConceptryError(f"`{shown.strip()}` failed:\n{said}", next_step=f"see {self.folder.logs}")


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
