"""`conceptry logs`: what a training said, from the Prefect server and from the run's folder."""

import json
from datetime import UTC, datetime
from itertools import count

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed

import cli.logs
from conceptry.errors import ConceptryError, TrainingError, UnknownConceptError
from flows.training_runs import training_runs
from tests.support.registry_world import World, set_state

SEEDS = count(70000, 100)
LAST = "FloatingPointError: the loss is [/nan]"


def failed_run(world: World, name: str) -> FlowRun:
    """A run of a concept that the trainer ended, with the output that both leave."""
    world.write(name, seed=next(SEEDS))
    revision = world.push()
    fingerprint = world.action(name).fingerprint or ""
    with training_runs(world.installation) as runs:
        run = runs.start(name, revision, fingerprint)
    lines = ["Traceback (most recent call last):", '  File "loop.py", line 3', LAST]
    error = TrainingError("the training failed", concept=name, next_step="lower it", exit_code=3, last_lines=lines)
    with get_client(sync_client=True) as client:
        now = datetime.now(UTC)
        client.create_logs(
            [
                LogCreate(name="run", level=20, message=f"step {n} [/]", timestamp=now, flow_run_id=run.id)
                for n in range(3)
            ]
        )
    set_state(run, Failed(message=f"Flow run encountered an exception: TrainingError: {error}"))
    folder = world.run_folder(fingerprint).root
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"placeholder_token": f"<{name}>"}))
    (folder / "trainer.log").write_text("\n".join([*(f"line {n}" for n in range(99)), "10%\r20%\r30%", LAST, ""]))
    return run


def test_a_failed_training_is_shown_with_its_cause_and_its_last_lines(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    run = failed_run(world, "nan-cat")
    cause = world.action("nan-cat").cause
    assert cause.startswith(f"training failed (the training failed; lower it (exit code 3): {LAST}); ")
    assert "`conceptry logs nan-cat`" in cause

    cli.logs.command("nan-cat", lines=3)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("nan-cat ")
    assert f"Failed since {datetime.now(UTC):%Y-%m-%d}" in said[0]
    assert [line[9:] for line in said if "step" in line] == ["step 0 [/]", "step 1 [/]", "step 2 [/]"]
    assert said[-3:] == ["line 98", "30%", LAST]

    cli.logs.command("nan-cat", run=str(run.id)[:8], lines=1, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["run"]["id"], found["run"]["state"]) == (str(run.id), "Failed")
    assert [one["text"] for one in found["log"]] == ["step 2 [/]"]
    assert found["trainer"]["lines"] == [LAST]

    with pytest.raises(ConceptryError, match=f"has no run zzz; its newest runs: {str(run.id)[:8]}"):
        cli.logs.command("nan-cat", run="zzz")


def test_without_a_server_the_trainers_own_output_is_found_by_its_token(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_run(world, "far-cat")
    monkeypatch.setenv("PREFECT_API_URL", "")
    world.write("new-cat", seed=next(SEEDS))
    world.push()
    with temporary_settings(updates={PREFECT_API_URL: None}):
        cli.logs.command("far-cat", lines=1)
        said = capsys.readouterr().out
        assert said.splitlines()[-1] == LAST
        assert "Failed" not in said
        with pytest.raises(UnknownConceptError, match="new-cat: no training of it was found"):
            cli.logs.command("new-cat")


def test_a_mistyped_name_gets_a_suggestion(world: World) -> None:
    world.write("loud-cat", seed=next(SEEDS))
    world.push()
    with pytest.raises(UnknownConceptError, match=r"no concept named lud-cat; did you mean loud-cat\?"):
        cli.logs.command("lud-cat")
