"""`conceptry status`: one screen about the registry, from git, the Hub and the Prefect server."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import count

import pytest
import typer
from prefect.client.orchestration import get_client
from prefect.states import Completed

import cli.status
from flows.deployments import installation_tag
from flows.release import release
from flows.training_runs import training_runs
from tests.support.registry_world import World, set_state

SEEDS = count(90000, 100)


def watched(world: World, message: str) -> None:
    """Let a watch of this installation's deployment end."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("watch/watch")
        run = client.create_flow_run_from_deployment(deployment.id, tags=[installation_tag(world.installation.id)])
    set_state(run, Completed(message=message))


def said(capsys: pytest.CaptureFixture[str], *, as_json: bool = False) -> str:
    with pytest.raises(typer.Exit) as ended:
        cli.status.command(json=as_json)
    assert ended.value.exit_code == 0
    return capsys.readouterr().out


def test_an_empty_registry(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.push()
    text = said(capsys)
    assert "no watcher works; is a worker running?" in text
    assert "no watch has ended yet" in text
    assert "Nothing is in flight, nothing waits." in text


def test_what_is_in_flight_what_waits_and_what_needs_a_person(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("busy-cat", seed=next(SEEDS))
    world.write("late-cat", seed=next(SEEDS), push=False)
    world.write("old-cat", seed=next(SEEDS), retrain={"every_days": 30})
    revision = world.push()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    world.publish("old-cat", created=yesterday.isoformat(timespec="seconds"), loss=0.05)
    assert release("old-cat") == "v1"
    with training_runs(world.installation) as runs:
        started = runs.start("busy-cat", revision, world.action("busy-cat").fingerprint or "")
    world.write("wrong-cat", seed=next(SEEDS), release="v9")
    world.push()
    watched(world, "4 concepts, 1 change")

    text = said(capsys)
    for title, name, words in (
        ("In flight", "busy-cat", str(started.id)),
        ("Waiting", "late-cat", "dvc push"),
        ("Needs you", "wrong-cat", "release: v9 is not published"),
        ("Next retrainings", "old-cat", f"{yesterday.date() + timedelta(days=30)}"),
    ):
        section = text.partition(f"\n{title}\n")[2].partition("\n\n")[0]
        line = next(line for line in section.splitlines() if line.strip().startswith(name))
        assert words in line, text
    assert "ago: 4 concepts, 1 change" in text

    found = json.loads(said(capsys, as_json=True))
    assert [one["concept"] for one in found["active"]] == ["busy-cat"]
    assert found["last_watch"]["message"] == "4 concepts, 1 change"
    assert found["spent"]["runs"] == (2 if yesterday.month == date.today().month else 1)
