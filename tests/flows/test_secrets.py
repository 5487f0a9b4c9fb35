"""Canary secrets go through plans, trainings, releases and failures, and are found only where they must be."""

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret

from conceptry.errors import ConceptryError
from emulators.hub.accounts import Account, Accounts
from emulators.hub.server import running
from emulators.vertex.certificate import Keys
from emulators.vertex.cloud import Cloud
from flows.current_installation import using
from flows.release import release
from flows.train_concept import job_at_head, train_concept
from flows.watch import watch
from tasks.processes import python_module
from tasks.training import vertex_clients
from tests.support.dvc_storage import CONFIG, Storage, serving_storage
from tests.support.git_server import GitServer, serving
from tests.support.registry_world import World
from tests.support.secrecy import CommandWatch, files_with, objects_with, secrets_in, words
from tests.support.trainer_stand_in import stand_in, vertex_variables

GIT, HUB, READ, DVC, BLOCK = "canary-git", "canary-hub", "canary-read", "canary-dvc", "canary-block"
WRONG = "canary-wrong"


@dataclass
class Guarded:
    """A world in which everything outside wants a secret."""

    world: World
    origin: GitServer
    storage: Storage
    machine: Path

    def push(self) -> None:
        self.world.push()
        self.origin.refresh()

    def remember(self, url: str, password: str) -> None:
        """Write the machine's own DVC configuration."""
        self.machine.write_text(f"['remote \"storage\"']\n    url = {url}\n    password = {password}\n")


@pytest.fixture
def guarded(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    tokens = {HUB: "write", BLOCK: "write", READ: "read"}
    accounts = Accounts(Account(name="local", token=token, role=role) for token, role in tokens.items())  # type: ignore[arg-type]
    (tmp_path / "machine").mkdir()
    with running(tmp_path / "hub", accounts=accounts) as hub, serving_storage(tmp_path / "remote", DVC) as storage:
        world = World(tmp_path, hub.url, prefect_api)
        world.start()
        (world.clone / ".dvc/config").write_text(CONFIG.format(url=storage.url))
        with serving(tmp_path / "origin.git", GIT) as origin:
            variables = {
                **world.variables(),
                "CONCEPTRY_REPO": origin.url("ann", GIT),
                "CONCEPTRY_HUB_TOKEN": HUB,
                "CONCEPTRY_SPACE_TOKEN": READ,
                "DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "machine"),
            }
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            guarded = Guarded(world, origin, storage, tmp_path / "machine" / "config")
            guarded.remember(storage.url, DVC)
            yield guarded


def conceptry(*arguments: str) -> str:
    """Run a command and return all that it prints."""
    command = python_module("cli", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    return f"{done.stdout}\n{done.stderr}"


def attempt(act: Callable[[], Any], told: list[str]) -> None:
    """Let something fail, and note all that the exception says."""
    with pytest.raises(ConceptryError) as caught:
        act()
    told.append(words(caught.value))


def test_secrets_are_found_only_where_they_must_be(
    guarded: Guarded, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    world, told = guarded.world, list[str]()
    world.write("shy-cat", space={"private": True})
    guarded.push()
    with CommandWatch() as watched:
        told += [conceptry("plan"), conceptry("plan", "--json"), str(watch(return_state=True))]
        parameters = world.trained("shy-cat")
        assert train_concept(**parameters) == "v1"
        assert watch(return_state=True).is_completed()
        assert release("shy-cat") == "v1"
        told += [conceptry("plan"), conceptry("history", "shy-cat"), conceptry("show", "shy-cat")]

        # By a block; the token of the environment is gone.
        monkeypatch.delenv("CONCEPTRY_HUB_TOKEN")
        monkeypatch.setenv("CONCEPTRY_HUB_TOKEN_BLOCK", "registry-token")
        Secret(value=BLOCK).save("registry-token", overwrite=True, _sync=True)
        world.write("bold-cat")
        guarded.push()
        parameters = world.trained("bold-cat")
        # Another user rotates it while the training lasts.
        Secret(value=WRONG).save("registry-token", overwrite=True, _sync=True)
        attempt(lambda: world.there("bold-cat"), told)
        Secret(value=BLOCK).save("registry-token", overwrite=True, _sync=True)
        assert train_concept(**parameters) == "v1"

        # Every outside fails in turn.
        world.write("new-cat")
        guarded.push()
        for name, value in (
            ("CONCEPTRY_REPO", guarded.origin.url("ann", WRONG)),
            ("CONCEPTRY_REPO", f"http://ann:{GIT}@127.0.0.1:9/x.git"),
            ("CONCEPTRY_HUB_TOKEN", WRONG),
        ):
            with monkeypatch.context() as broken:
                broken.setenv(name, value)
                told.append(conceptry("plan"))
                attempt(world.plan, told)
        for url, password in ((guarded.storage.url, WRONG), ("http://127.0.0.1:9/", DVC)):
            guarded.remember(url, password)
            told.append(conceptry("plan"))
            told.append(repr(world.plan()))
        sent = len(guarded.storage.seen)
        assert "shy-cat" in told[-1]

    sent_by_us = {token for token in guarded.storage.seen[:sent] if token}
    assert sent_by_us == {DVC, WRONG}
    told += [caplog.text, *capfd.readouterr(), *watched.seen]
    assert len(watched.seen) > 5
    found = [one for one in told if "canary" in one]
    assert found == [], found[0]
    written = [world.root / "work", world.clone, world.root / "origin.git", Path(os.environ["PREFECT_HOME"])]
    written += list(tmp_path_factory.getbasetemp().glob("prefect*"))
    assert files_with("shy-cat", *tmp_path_factory.getbasetemp().glob("prefect*")), "the database is searched"
    assert any(" fetch " in command and guarded.origin.shown in command for command in watched.seen)
    secrets = (GIT, HUB, READ, DVC, BLOCK, WRONG)
    encoded = [base64.b64encode(text.encode()).decode() for one in secrets for text in (one, f"ann:{one}")]
    assert secrets_in([*secrets, *encoded], *written) == []
    assert objects_with(secrets, *(world.root / "hub").rglob("*.git")) == []
    (hidden,) = files_with(READ, world.root / "hub")
    assert hidden.is_relative_to(world.hub_repo("spaces", "shy-cat")), "the secret of its Space"
    assert files_with(HUB, world.root / "hub") == files_with(BLOCK, world.root / "hub") == []


def test_a_private_space_gets_a_token_that_reads_or_none(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    world = guarded.world
    world.write("shy-dog", space={"private": True})
    guarded.push()
    stored = world.hub_repo("spaces", "shy-dog")
    for token, expected in ((HUB, []), ("", []), (READ, [READ])):
        monkeypatch.setenv("CONCEPTRY_SPACE_TOKEN", token)
        if token == HUB:
            assert train_concept(**world.trained("shy-dog")) == "v1"
        else:
            world.write("shy-dog", space={"private": True, "title": f"Dog {token[:6]}"})
            guarded.push()
            assert release("shy-dog") == "v1"
        assert [secret for secret in (HUB, READ) if files_with(secret, stored)] == expected
    api = world.api()
    assert list(api.get_space_secrets("local/shy-dog")) == ["HF_TOKEN"]

    # An older release stored the registry's own token there.
    description = api.get_space_secrets("local/shy-dog")["HF_TOKEN"].description or ""
    api.add_space_secret("local/shy-dog", "HF_TOKEN", HUB, description=description)
    monkeypatch.delenv("CONCEPTRY_SPACE_TOKEN")
    world.write("shy-dog", space={"private": True, "title": "Older"})
    guarded.push()
    assert release("shy-dog") == "v1"
    assert not files_with(HUB, stored)


def test_a_training_publishes_with_the_token_that_is_set_by_then(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = guarded.world
    monkeypatch.delenv("CONCEPTRY_HUB_TOKEN")
    monkeypatch.setenv("CONCEPTRY_HUB_TOKEN_BLOCK", "rotated-token")
    Secret(value=WRONG).save("rotated-token", overwrite=True, _sync=True)
    installation = world.installation
    Secret(value=BLOCK).save("rotated-token", overwrite=True, _sync=True)
    world.write("late-cat")
    guarded.push()
    with using(installation):
        assert train_concept(**world.trained("late-cat")) == "v1"


def test_the_key_of_google_is_written_nowhere(
    world: World, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Set as a file for Google's clients, and inline in a Prefect block; and so another one, which Google refuses."""
    machine = tmp_path_factory.mktemp("machine")
    accounts = (cloud.service_account, Keys(machine).service_account(cloud.project.name, f"{cloud.web}/token"))
    files = [machine / f"{index}.json" for index in range(2)]
    for file, account in zip(files, accounts, strict=True):
        file.write_text(json.dumps(account))
    for name, value in {**vertex_variables(cloud), "GOOGLE_APPLICATION_CREDENTIALS": str(files[0])}.items():
        monkeypatch.setenv(name, value)
    told = list[str]()

    with CommandWatch() as watched:
        told.append(conceptry("setup", "gcp", "--credentials", str(files[0]), "--bucket", cloud.bucket))
        stand_in(cloud, world, "key-cat", 0, monkeypatch)
        world.write("key-cat", push=False)
        config = world.clone / ".dvc" / "config"
        config.write_text(config.read_text().replace(str(world.root / "remote"), f"gs://{cloud.bucket}/dvc-key"))
        bucket = cloud.client().bucket(cloud.bucket)
        for oid, data in world.pushed.items():
            bucket.blob(f"dvc-key/files/md5/{oid[:2]}/{oid[2:]}").upload_from_string(data)
        world.push()
        told.append(conceptry("plan"))
        job = job_at_head(world.installation, "key-cat")
        assert train_concept("key-cat", job.revision, job.fingerprint) == "v1"

        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(files[1]))
        told.append(conceptry("setup", "gcp", "--credentials", str(files[1])))
        assert "Invalid JWT Signature" in told[-1]
        clients = partial(vertex_clients.open_cloud, world.installation.vertex_settings())
        attempt(lambda: clients().jobs.live(world.installation.id), told)
        told.append(conceptry("plan"))

    told += [caplog.text, *capfd.readouterr(), *watched.seen, repr(cloud.jobs.all())]
    told += [repr(blob.download_as_bytes()) for blob in bucket.list_blobs()]
    written = [world.root, Path(os.environ["PREFECT_HOME"]), *tmp_path_factory.getbasetemp().glob("prefect*")]
    assert files_with("key-cat", *written), "the folders are searched"
    lines = [line for account in accounts for line in account["private_key"].splitlines()[1:-1]]
    assert len(secrets_in(lines, machine)) >= len(lines), "its lines are found where it is"
    assert [line for line in lines for one in told if line in one] == []
    assert secrets_in(lines, *written) == []
