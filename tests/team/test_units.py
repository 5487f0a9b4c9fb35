"""Systemd units, environment files and the compose file: what they name exists, and systemd and compose accept them."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import settings as prefect_settings

from cli.app import COMMANDS, GROUPS
from conceptry.settings import PREFIX, Settings
from emulators.hub.accounts import Accounts
from local.team.team_servers import NGINX_TEMPLATE

INSTALLED = Path("/opt/conceptry")
OTHERS = {"HF_HUB_DISABLE_XET", "BACKUP_DATABASE", "PGPASSWORD", "HUB_PUBLIC_URL"}
"""Variables of libraries and of the units themselves."""


@pytest.fixture
def deploy(repo_root: Path) -> Path:
    return repo_root / "deploy"


def variables(file: Path) -> Iterator[tuple[str, str]]:
    for line in file.read_text().splitlines():
        if line.removeprefix("#") and not line.startswith("# "):
            name, _, value = line.removeprefix("#").partition("=")
            yield name, value


def commands(deploy: Path) -> Iterator[list[str]]:
    """Yield the commands of all units, and those of the compose file that run this project's code."""
    for unit in sorted((deploy / "systemd").glob("*.service")):
        for line in re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE):
            words = shlex.split(line)
            yield shlex.split(words[2])[1:] if words[:2] == ["/bin/sh", "-c"] else words
    yield from (one["command"] for one in services(deploy).values() if "command" in one)


def services(deploy: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((deploy / "compose.yaml").read_text())["services"]
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_accepts_the_units(deploy: Path, tmp_path: Path) -> None:
    """Programs are looked up where a stand-in for the installation is; everything else is as in the files."""
    installed = tmp_path / "opt"
    (installed / ".venv" / "bin").mkdir(parents=True)
    for name in ("conceptry", "python"):
        program = installed / ".venv" / "bin" / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    units = []
    for unit in sorted((deploy / "systemd").iterdir()):
        if unit.suffix in (".service", ".timer"):
            units.append(tmp_path / unit.name)
            units[-1].write_text(unit.read_text().replace(str(INSTALLED), str(installed)))
    assert len(units) == 5
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_unit_has_a_user_and_a_folder_of_its_own(deploy: Path) -> None:
    created = re.findall(r"^u (\S+)", (deploy / "systemd" / "conceptry.sysusers").read_text(), re.MULTILINE)
    for unit in ("conceptry-prefect", "conceptry-hub", "conceptry-worker@"):
        text = (deploy / "systemd" / f"{unit}.service").read_text()
        user, folder = (re.search(rf"^{key}=(.*)$", text, re.MULTILINE) for key in ("User", "StateDirectory"))
        assert user
        assert folder
        assert {user[1].replace("%i", worker) for worker in "ab"} <= set(created)
        assert f"/var/lib/{folder[1]}" in text
        assert "PrivateTmp=true" in text


def test_every_command_exists_with_its_options(deploy: Path, repo_root: Path) -> None:
    reference = (repo_root / "docs" / "reference.md").read_text()
    known = {(name,) for name in COMMANDS} | {(group, name) for group, (_, of) in GROUPS.items() for name in of}
    for words in commands(deploy):
        program, *arguments = words
        if program.removeprefix(f"{INSTALLED}/.venv/bin/") == "conceptry":
            named = next(tuple(arguments[:count]) for count in (2, 1) if tuple(arguments[:count]) in known)
            described = reference.split(f"### conceptry {' '.join(named)}\n", 1)[1].split("\n### ", 1)[0]
        else:
            module = arguments[arguments.index("-m") + 1]
            path = repo_root / module.replace(".", "/")
            source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
            described = source.read_text()
        options = {word.partition("=")[0] for word in arguments if word.startswith("--")}
        assert [option for option in options if f'"{option}"' not in described and f"`{option}`" not in described] == []


def test_every_variable_is_one_that_a_program_reads(deploy: Path) -> None:
    conceptry = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    trust = {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"}
    named = {name for file in (deploy / "env").glob("*.env") for name, _ in variables(file)}
    nginx = {name for name, _ in variables(deploy / "env" / "nginx.env")}
    prefect = {name for name in named if name.startswith("PREFECT_") and hasattr(prefect_settings, name)}
    assert named - nginx - prefect - conceptry - trust - OTHERS == set()
    assert nginx == set(re.findall(r"\$\{(\w+)\}", NGINX_TEMPLATE.read_text()))


def test_the_hub_accepts_the_accounts(deploy: Path) -> None:
    assert Accounts.load(deploy / "env" / "accounts.yaml")


def test_files_volumes_and_services_of_the_compose_file_exist(deploy: Path) -> None:
    document = yaml.safe_load((deploy / "compose.yaml").read_text())
    mounted = set()
    for name, service in services(deploy).items():
        build = service.get("build")
        if build is not None:
            context = deploy / (build if isinstance(build, str) else build["context"])
            assert (context / (build.get("dockerfile") if isinstance(build, dict) else "Dockerfile")).is_file()
        else:
            assert re.fullmatch(r"(postgres|nginx):\d+(\.\d+)?", service["image"]), "an official image, with a version"
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (deploy / source).is_file() if source.startswith(".") else source in document["volumes"]
            mounted.add(source)
        assert set(service.get("depends_on", ())) <= set(services(deploy)), name
        assert set(service.get("secrets", ())) <= set(document["secrets"]), name
        if "env_file" in service:
            assert (deploy / "env" / Path(service["env_file"]).name).is_file()
    assert set(document["volumes"]) <= mounted
    work = {service["volumes"][0] for name, service in services(deploy).items() if name.startswith("worker-")}
    assert work == {"worker-a:/work", "worker-b:/work"}, "each worker has a folder of its own"
    published = {name for name, service in services(deploy).items() if service.get("ports")}
    assert published == {"proxy"}, "everything else is reached through TLS only"


def test_compose_accepts_the_file(deploy: Path, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("no docker compose on this machine")
    shutil.copytree(deploy / "env", tmp_path / "my-env")
    for name in ("database-password", "server.pem", "server.key"):
        (tmp_path / "my-env" / name).touch()
    shutil.copyfile(deploy / "compose.yaml", tmp_path / "compose.yaml")
    (tmp_path / ".env").write_text("HOST=conceptry.example.org\nHUB_PUBLIC_URL=https://conceptry.example.org:8443\n")
    done = subprocess.run([docker, "compose", "config", "--quiet"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
