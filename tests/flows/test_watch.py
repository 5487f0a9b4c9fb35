"""The watcher: what it starts, what it leaves alone, and that one concept's trouble is not another one's."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from prefect.states import Crashed, Failed, Scheduled

from flows.train_concept import schedule_training, train_concept
from flows.training_runs import MAX_RESUMED
from flows.watch import watch
from tests.support.registry_world import (
    World,
    artifact,
    events_of,
    last_run,
    md5,
    python,
    run,
    set_state,
    training_runs,
)
from tests.support.wait import wait_until


def test_three_mistakes_are_three_messages_and_the_others_go_on(world: World) -> None:
    world.write("wrong-dog", placeholder_token="My Dog", num_vectors=99, colour="red")
    world.write("right-dog")
    world.push()
    assert watch(return_state=True).is_completed()
    cause = world.action("wrong-dog").cause
    assert all(mistake in cause for mistake in ("placeholder_token", "num_vectors", "colour")), cause
    assert world.planned("wrong-dog").health == "Degraded"
    table = artifact("plan")
    assert all(mistake in table for mistake in ("placeholder\\_token", "num\\_vectors", "colour"))
    right = world.action("right-dog")
    assert right.cause.startswith("is being trained"), "the other one was started"
    assert [flow_run.parameters["name"] for flow_run in training_runs(right.fingerprint or "")] == ["right-dog"]
    wait_until(lambda: events_of("wrong-dog") == ["degraded"])


def test_an_error_that_nobody_thought_of_holds_one_concept_with_its_traceback_in_the_log(world: World) -> None:
    world.write("odd-dog")
    listing = b"[" * 100_000  # Python's JSON parser gives up with a RecursionError
    world.pushed = {f"{md5(listing)}.dir": listing}
    world.dvc_push()
    outs = [{"md5": f"{md5(listing)}.dir", "hash": "md5", "path": "images"}]
    (world.clone / "concepts" / "odd-dog" / "images.dvc").write_text(yaml.safe_dump({"outs": outs}))
    for folder in (b"caf\xe9", b"a\nb", b"\x1b[2J"):
        odd = Path(os.fsdecode(os.fsencode(world.clone / "concepts") + b"/" + folder))
        odd.mkdir()
        (odd / "concept.yaml").write_bytes(b"\xff")
    world.write("even-dog")
    world.push()
    assert watch(return_state=True).is_completed()
    action = world.action("odd-dog")
    assert (action.kind, action.reason) == ("hold", "Unexpected")
    assert "RecursionError" in action.cause
    assert len(training_runs(world.action("even-dog").fingerprint or "")) == 1
    assert "caf" in artifact("plan")
    APILogHandler().flush()
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[last_run("watch").id]))

    def logged() -> bool:
        with get_client(sync_client=True) as client:
            return any("Traceback" in line.message and "odd-dog" in line.message for line in client.read_logs(of_run))

    wait_until(logged)


def test_pictures_that_were_not_pushed_are_waited_for(world: World) -> None:
    world.write("late-dog", push=False)
    world.push()
    watch()
    assert world.action("late-dog").kind == "wait"
    assert "dvc push" in world.action("late-dog").cause
    world.dvc_push()
    watch()
    assert world.planned("late-dog").health == "Progressing"


def test_a_commit_that_changes_nothing_starts_nothing(world: World) -> None:
    world.write("calm-dog")
    world.push()
    assert train_concept(**world.trained("calm-dog")) == "v1"
    (world.clone / "README.md").write_text("About dogs")
    world.push("Write a README")
    state = watch(return_state=True)
    assert state.message == "1 concept, 0 changes"
    assert len(world.there("calm-dog").versions) == 1


def test_two_watchers_at_once_train_once(world: World) -> None:
    world.write("twin-dog")
    world.push()
    fingerprint = world.action("twin-dog").fingerprint or ""
    code = "from flows.watch import watch; watch()"
    watchers = [python(code, world.variables(work)) for work in ("one machine", "another machine")]
    assert [watcher.wait(120) for watcher in watchers] == [0, 0]
    assert len(training_runs(fingerprint)) == 1


def test_a_watch_beside_another_one_on_the_same_machine_ends_at_once(world: World) -> None:
    world.write("same-dog")
    world.push()
    hold = "import sys, time; from tasks.locks import try_hold; from pathlib import Path\n"
    hold += "with try_hold(Path(sys.argv[1]), 'a watch') as held: print(held, flush=True); time.sleep(60)"
    lock = world.installation.work.watch_lock
    other = python(hold, {}, str(lock))
    try:
        wait_until(lambda: lock.exists() and lock.read_text() == "a watch")
        assert watch(return_state=True).name == "Skipped"
    finally:
        other.kill()
        other.wait()
    assert watch(return_state=True).name == "Completed"


def test_release_goes_back_and_forth_without_training(world: World) -> None:
    world.write("there-and-back", pictures=3)
    world.push()
    train_concept(**world.trained("there-and-back"))
    world.write("there-and-back", pictures=5)
    world.push("Two more pictures")
    assert train_concept(**world.trained("there-and-back")) == "v2"
    assert released(world, "there-and-back") == "v2"

    world.write("there-and-back", pictures=5, release="v1")
    world.push("Back to v1")
    watch()
    assert released(world, "there-and-back") == "v1"
    world.write("there-and-back", pictures=5, release="none")
    world.push("Not at all")
    watch()
    assert released(world, "there-and-back") is None
    world.write("there-and-back", pictures=3)
    world.push("As it was in the beginning")
    assert world.action("there-and-back").kind in ("adopt", "release")
    watch()
    assert released(world, "there-and-back") == "v1"
    assert len(world.there("there-and-back").versions) == 2
    assert world.action("there-and-back").kind == "nothing"

    run(world.clone, "git", "rm", "-rq", "concepts/there-and-back")
    world.push("Gone")
    watch()
    assert released(world, "there-and-back") is None
    assert world.action("there-and-back").cause == "archived"
    wait_until(lambda: {"released", "paused"} <= set(events_of("there-and-back")))
    # Nobody is told twice. That each arrives is Prefect's promise, and on SQLite it drops some when it is busy.
    told = events_of("there-and-back")
    assert told.count("released") <= 4
    assert told.count("paused") <= 2


def test_a_concept_whose_space_is_somebody_elses_stops_no_other_one(world: World) -> None:
    for name in ("blocked-dog", "clear-dog"):
        world.write(name)
        world.push()
        train_concept(**world.trained(name))
    api = world.api()
    api.delete_repo("local/blocked-dog", repo_type="space")
    api.create_repo("local/blocked-dog", repo_type="space", space_sdk="gradio")
    api.upload_file(path_or_fileobj=b"mine", path_in_repo="app.py", repo_id="local/blocked-dog", repo_type="space")
    for name in ("blocked-dog", "clear-dog"):
        world.write(name, space={"title": "Another title"})
    world.push("Titles")
    assert watch(return_state=True).is_completed()
    assert world.action("clear-dog").kind == "nothing"
    assert world.action("blocked-dog").reason == "NameTaken"


def test_a_dvc_remote_that_is_away_holds_no_rollback_up(world: World) -> None:
    world.write("away-dog")
    world.push()
    train_concept(**world.trained("away-dog"))
    world.write("away-dog", pictures=2, release="none")
    (world.clone / ".dvc" / "config").write_text("[core]\n    remote = gone\n")
    world.push()
    assert watch(return_state=True).is_completed()
    assert released(world, "away-dog") is None
    world.write("away-dog", pictures=2)
    world.push()
    watch()
    assert released(world, "away-dog") is None, "what was taken down does not come back by itself"
    action = world.action("away-dog")
    assert action.kind == "wait"
    assert action.cause.startswith("the DVC remote could not be read: ")
    world.write("away-dog", pictures=2, release="v1")
    world.push()
    watch()
    assert released(world, "away-dog") == "v1"


def test_a_training_that_failed_is_held_until_a_person_retries_it(world: World) -> None:
    world.write("sick-dog")
    world.push()
    watch()
    fingerprint = world.action("sick-dog").fingerprint or ""
    flow_run = training_runs(fingerprint)[0]
    set_state(flow_run, Failed(message="no"))
    assert watch(return_state=True).message == "1 concept, 0 changes, 1 degraded"
    assert world.action("sick-dog").kind == "hold"
    assert len(training_runs(fingerprint)) == 1

    again = schedule_training(world.installation, "sick-dog")
    assert again is not None
    assert (again.id, again.state_name) == (flow_run.id, "AwaitingRetry")
    assert world.planned("sick-dog").health == "Progressing"


def test_a_retry_after_a_correction_reads_the_correction(world: World) -> None:
    world.write("gate-dog", gate={"min_clip_gain": 3.0})
    world.push()
    watch()
    fingerprint = world.action("gate-dog").fingerprint or ""
    set_state(training_runs(fingerprint)[0], Failed(message="gate.min_clip_gain needs CLIP scores"))
    assert world.action("gate-dog").reason == "TrainingFailed"
    world.write("gate-dog")
    revision = world.push("Remove that key, as the error says")
    assert world.action("gate-dog").fingerprint == fingerprint

    again = schedule_training(world.installation, "gate-dog")
    assert again is not None
    assert again.parameters["revision"] == revision
    assert len(training_runs(fingerprint)) == 2
    assert world.planned("gate-dog").health == "Progressing"


def test_a_training_that_was_killed_goes_on_by_itself_but_not_for_ever(world: World) -> None:
    world.write("dead-dog")
    world.push()
    watch()
    fingerprint = world.action("dead-dog").fingerprint or ""
    flow_run = training_runs(fingerprint)[0]
    set_state(flow_run, Crashed(message="killed"))
    watch()
    revived = training_runs(fingerprint)
    assert [(each.id, each.state_name) for each in revived] == [(flow_run.id, "AwaitingRetry")]
    for _ in range(MAX_RESUMED):
        set_state(flow_run, Crashed(message="killed again"))
        watch()
    assert world.action("dead-dog").kind == "hold"


def test_a_version_that_vanished_from_the_hub_is_trained_again(world: World) -> None:
    world.write("lost-dog")
    world.push()
    watch()
    fingerprint = world.action("lost-dog").fingerprint or ""
    train_concept(**world.trained("lost-dog"))
    set_state(training_runs(fingerprint)[0], "complete")
    world.api().delete_repo("local/lost-dog")
    watch()
    assert [flow_run.state_name for flow_run in training_runs(fingerprint)].count("Scheduled") == 1


def test_watches_that_are_late_are_let_go(world: World) -> None:
    world.write("slow-dog")
    world.push()
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("watch/watch")
        late = client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=datetime.now(UTC)))
    watch()
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(late.id).state_name == "Skipped"


@pytest.mark.parametrize("setting", ["CONCEPTRY_REPO", "CONCEPTRY_HUB_OWNER"])
def test_settings_that_are_missing_are_named(world: World, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    del world
    monkeypatch.delenv(setting)
    state = watch(return_state=True)
    assert state.is_failed()
    assert setting in (state.message or "")
    assert last_run("watch").state_name == "Failed"


def released(world: World, name: str) -> str | None:
    space = world.there(name).space
    return space.release if space and not space.paused else None
