"""`conceptry doctor`: each finding names what is wrong and its fix; a check that fails stops no other one."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
import typer
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

import cli.doctor
from conceptry.check import Check
from conceptry.installation import Installation
from flows.deployments import installation_tag
from flows.doctor import CHECKS, check_installation
from local.child_process import free_port
from tests.support.registry_world import World

SEEDS = count(91000, 100)


def checks(installation: Installation) -> dict[str, Check]:
    return {check.title: check for check in check_installation(installation)}


def test_what_is_right_and_what_is_wrong(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("well-cat", seed=next(SEEDS))
    world.push()
    found = checks(world.installation)
    assert found.keys() == CHECKS.keys()
    assert [title for title, check in found.items() if not check.ok] == ["Prefect is locked", "deployments"]
    assert "may run a shell" in found["Prefect is locked"].found
    assert "PREFECT_SERVER_API_AUTH_STRING" in found["Prefect is locked"].next_step
    assert found["deployments"].next_step.startswith("run `conceptry deploy`")

    with pytest.raises(typer.Exit) as ended:
        cli.doctor.command()
    text = capsys.readouterr().out
    assert (ended.value.exit_code, text.count("✗")) == (1, 2)


@pytest.fixture
def tagged(world: World) -> Iterator[World]:
    """A world whose installation registered the deployments."""
    mine = [installation_tag(world.installation.id)]
    with get_client(sync_client=True) as client:
        found = [client.read_deployment_by_name(name) for name in ("watch/watch", "train-concept/train-concept")]

        def tag(deployment: DeploymentResponse, tags: list[str]) -> None:
            client.request("PATCH", "/deployments/{id}", path_params={"id": deployment.id}, json={"tags": tags})

        for deployment in found:
            tag(deployment, mine)
        yield world
        for deployment in found:
            tag(deployment, deployment.tags)


def test_deployments_without_a_worker(tagged: World) -> None:
    tagged.push()
    found = checks(tagged.installation)["deployments"]
    assert "nobody asks for runs of " in found.found, "of which one depends on the tests before"
    assert "`conceptry worker`" in found.next_step


def test_every_system_that_is_away_is_one_finding(world: World) -> None:
    world.write("lost-cat", seed=next(SEEDS))
    world.push()
    (world.root / "remote").rename(world.root / "remote-away")
    installation = world.installation
    wrong = replace(installation, hub=replace(installation.hub, token=SecretStr("hf_wrong")))
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port(0)}/api"}):
        found = checks(wrong)
    failed = [title for title, check in found.items() if not check.ok]
    assert failed == ["DVC remote", "Hub token", "clock", "Prefect", "Prefect is locked", "deployments"]
    assert all(found[title].next_step for title in failed)


def test_a_token_that_may_only_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.push()
    monkeypatch.setenv("CONCEPTRY_HUB_OWNER", "somebody-else")
    found = checks(world.installation)["Hub token"]
    assert "no member of somebody-else" in found.found
    monkeypatch.setenv("CONCEPTRY_HUB_OWNER", "local")
    monkeypatch.setenv("CONCEPTRY_SPACE_TOKEN", "hf_local")
    assert checks(world.installation)["Space token"].found == "it may write"
    monkeypatch.setenv("CONCEPTRY_BRANCH", "gone")
    assert "has no branch gone" in checks(world.installation)["git"].found
