"""One training run: what it leaves on the Hub, what it does not try again, and how it goes on after it was stopped."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.states import Pending
from safetensors.numpy import load_file

from cli.verify import verify
from conceptry.errors import ConceptryError, DataCorruptError, TrainingError
from conceptry.fingerprint import training_fingerprint
from flows.release import release
from flows.train_concept import job_at_head, schedule_training, train_concept, train_in_process
from flows.watch import watch
from tasks.hub.version_vectors import fetch_initial_vectors, fetch_released_vectors
from tests.support.registry_world import World, artifact, last_run, run, set_state, tasks_of, training_runs
from trainer.base_weights.presets import PRESETS


def test_a_run_publishes_one_version_with_its_space_and_tells_people(world: World) -> None:
    world.write("grey-cat")
    world.push()
    parameters = world.trained("grey-cat")
    metrics = world.run_folder(parameters["fingerprint"]).output / "metrics.json"
    image = {"initializer": 60.0, "trained": 74.5, "on": "held-out images"}
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"clip": {"model": "small", "image": image}}))
    assert train_concept(**parameters) == "v1"
    there = world.there("grey-cat")
    assert [version.fingerprint for version in there.versions] == [parameters["fingerprint"]]
    assert there.space is not None
    assert there.space.release == "v1"
    assert world.branches("grey-cat") == ["main", "v1"]
    assert world.planned("grey-cat").health == "Healthy"
    assert [version.clip for version in there.versions] == [74.5]
    assert "Gate: passed" in artifact("grey-cat-metrics")
    assert "60.0 with the initializer, 74.5 with the token" in artifact("grey-cat-metrics")
    page = artifact("grey-cat-metrics")
    assert all(f"![{words}](data:image/webp;" in page for words in ("without training", "with the learned token"))
    assert f"[v1]({world.hub}/local/grey-cat/tree/v1)" in page
    assert f"({world.hub}/spaces/local/grey-cat)" in page
    shown = re.search(r"!\[with the learned token\]\(data:image/webp;base64,([^)]+)\)", page)
    assert shown
    assert Image.open(BytesIO(b64decode(shown[1]))).format == "WEBP"
    run = last_run("train-concept")
    assert (run.name, run.state and run.state.message) == (
        f"grey-cat v1 {parameters['fingerprint'][:8]}", "v1 published, passed, released"
    )  # fmt: skip
    assert "version:v1" in run.tags
    assert not world.run_folder(parameters["fingerprint"]).output.exists(), "it is on the Hub now"

    assert train_concept(**parameters) == "v1", "a second run of the same fingerprint finds the version"
    assert "train" not in tasks_of(last_run("train-concept"))
    assert world.branches("grey-cat") == ["main", "v1"]


def test_a_default_that_was_written_out_is_not_trained_again_by_hand(world: World) -> None:
    world.write("calm-cat", training={"max_steps": PRESETS["tiny"].max_steps})
    world.push()
    job = job_at_head(world.installation, "calm-cat")
    # Up to release 0.1 a default of the base model counted if it was written out.
    older = training_fingerprint(job.spec, job.desired.images or (), replace(job.base, defaults={}))
    assert older != job.fingerprint
    world.publish("calm-cat", created="2026-01-01T00:00:00+00:00", loss=0.05, fingerprint=older)
    assert release("calm-cat") == "v1"
    assert world.planned("calm-cat").training.kind == "nothing"
    assert schedule_training(world.installation, "calm-cat") is None
    assert train_in_process(world.installation, "calm-cat") is None
    assert training_runs(job.fingerprint) == []
    assert world.branches("calm-cat") == ["main", "v1"]


def test_a_run_goes_on_from_the_step_that_failed(world: World) -> None:
    world.write("lame-cat")
    world.push()
    parameters = world.trained("lame-cat")
    embeds = world.run_folder(parameters["fingerprint"]).output / "learned_embeds.safetensors"
    embeds.rename(embeds.with_suffix(".aside"))
    with pytest.raises(TrainingError, match=r"wrote no learned_embeds\.safetensors"):
        train_concept(**parameters)
    first = tasks_of(last_run("train-concept"), "train", "judge and assemble")
    assert (first["train"], first["judge and assemble"]) == ("Completed", "Failed")

    embeds.with_suffix(".aside").rename(embeds)
    assert train_concept(**parameters) == "v1"
    second = tasks_of(last_run("train-concept"), "fetch images", "write records", "train", "judge and assemble")
    assert [second[name] for name in ("fetch images", "write records", "train")] == ["Cached"] * 3
    assert second["judge and assemble"] == "Completed"


def test_a_step_whose_folder_was_cleared_away_is_done_again(world: World) -> None:
    world.write("lost-cat")
    world.push()
    parameters = world.trained("lost-cat")
    folder = world.run_folder(parameters["fingerprint"])
    embeds = folder.output / "learned_embeds.safetensors"
    content = embeds.read_bytes()
    embeds.unlink()
    with pytest.raises(TrainingError):
        train_concept(**parameters)
    folder.records.rename(folder.root / "elsewhere")
    embeds.write_bytes(content)
    assert train_concept(**parameters) == "v1"
    again = tasks_of(last_run("train-concept"), "fetch images", "write records")
    assert (again["fetch images"], again["write records"]) == ("Cached", "Completed")


def test_bad_data_is_reported_and_not_tried_again(world: World) -> None:
    world.write("torn-cat")
    world.push()
    parameters = world.trained("torn-cat")
    for stored in (world.root / "remote").rglob("*"):
        if stored.is_file() and not stored.name.endswith(".dir"):
            stored.write_bytes(b"not what it was")
    with pytest.raises(DataCorruptError, match="do not have their md5"):
        train_concept(**parameters)
    assert tasks_of(last_run("train-concept"), "fetch images", attempts=True)["fetch images"] == 1


def test_a_version_that_does_not_pass_its_gate_is_published_and_not_released(world: World) -> None:
    world.write("poor-cat")
    world.push()
    assert train_concept(**world.trained("poor-cat", loss=0.2)) == "v1"
    there = world.there("poor-cat")
    assert [version.gate for version in there.versions] == ["rejected"]
    assert there.space is None
    assert world.planned("poor-cat").health == "Degraded"
    assert "rejected" in artifact("poor-cat-metrics")
    said = last_run("train-concept").state
    assert ((said and said.message) or "").startswith("v1 published, rejected (")
    assert "; nothing is served: change the pictures or the settings, or set `release: v1`" in (
        (said and said.message) or ""
    )

    world.write("poor-cat", release="v1")
    world.push("We want it all the same")
    assert release("poor-cat") == "v1"
    there = world.there("poor-cat")
    assert there.space is not None
    assert there.space.release == "v1"


def test_the_released_version_is_what_a_new_one_has_to_beat(world: World, tmp_path: Path) -> None:
    world.write("best-cat")
    world.push()
    job = job_at_head(world.installation, "best-cat")
    assert fetch_released_vectors(world.session, job, tmp_path / "none") is None, "nothing is published"
    assert train_concept(**world.trained("best-cat")) == "v1"
    made = fetch_released_vectors(world.session, job, tmp_path / "released")
    assert made == tmp_path / "released" / "v1.safetensors"
    assert list(load_file(made)) == ["<best-cat>"]

    other = replace(job, base=replace(job.base, digest="0" * 64))
    assert fetch_released_vectors(world.session, other, tmp_path / "released") is None, "they mean nothing there"
    assert not made.exists()

    world.write("best-cat", pictures=6)
    world.push("Another picture")
    assert train_concept(**world.trained("best-cat", loss=0.06, released=0.05)) == "v2"
    there = world.there("best-cat")
    assert [(version.gate, version.gate_reason) for version in there.versions] == [
        ("passed", "Improved"), ("rejected", "NotBetterThanReleased")
    ]  # fmt: skip
    assert there.space is not None
    assert there.space.release == "v1"
    action = world.action("best-cat")
    assert (action.reason, action.health) == ("NotBetter", "Healthy")


def test_a_training_starts_from_a_published_version(world: World, tmp_path: Path) -> None:
    world.write("kitten", initializer_token="old-cat@v1", seed=8)
    world.write("old-cat", initializer_token="circle")
    world.push()
    action = world.action("kitten")
    assert (action.reason, action.health) == ("InitializerUnknown", "Degraded")
    assert "old-cat@v1 is not published yet; published versions of old-cat: none" in action.cause
    job = job_at_head(world.installation, "kitten")
    with pytest.raises(TrainingError, match="is not published yet"):
        fetch_initial_vectors(world.session, job, tmp_path / "initial")

    assert train_concept(**world.trained("old-cat")) == "v1"
    assert world.action("kitten").kind == "train"
    assert fetch_initial_vectors(world.session, job, tmp_path / "initial") == "circle"
    made = tmp_path / "initial" / "old-cat@v1.safetensors"
    assert list(load_file(made)) == ["<old-cat>"]

    # A version that started from another one stands for the same words.
    assert train_concept(**world.trained("kitten")) == "v1"
    world.write("lion", initializer_token="kitten@v1", seed=9)
    world.push()
    lion = job_at_head(world.installation, "lion")
    assert fetch_initial_vectors(world.session, lion, tmp_path / "initial") == "circle"
    from_words = job_at_head(world.installation, "old-cat")
    assert fetch_initial_vectors(world.session, from_words, tmp_path / "initial") is None
    assert not made.exists()

    two = replace(lion, spec=lion.spec.model_copy(update={"num_vectors": 2}))
    with pytest.raises(TrainingError, match="kitten@v1 has 1 vectors, and num_vectors is 2"):
        fetch_initial_vectors(world.session, two, tmp_path / "initial")
    other = replace(lion, base=replace(lion.base, digest="0" * 64))
    with pytest.raises(TrainingError, match="other weights"):
        fetch_initial_vectors(world.session, other, tmp_path / "initial")


def test_a_run_refuses_what_the_plan_did_not_see(world: World) -> None:
    world.write("odd-cat")
    revision = world.push()
    with pytest.raises(ConceptryError, match="not 0000"):
        train_concept("odd-cat", revision, "0" * 64)
    assert world.there("odd-cat").versions == ()


def rename(world: World, old: str, new: str) -> None:
    run(world.clone, "git", "mv", f"concepts/{old}", f"concepts/{new}")
    world.push(f"{old} is {new}")


def test_a_concept_that_is_renamed_before_its_run_is_published_under_its_new_name(world: World) -> None:
    world.write("young-cat", seed=8100)
    world.push()
    parameters = world.trained("young-cat")
    rename(world, "young-cat", "aged-cat")
    assert train_concept(**parameters) == "v1"
    aged = world.there("aged-cat")
    assert [version.fingerprint for version in aged.versions] == [parameters["fingerprint"]]
    assert world.there("young-cat").versions == ()
    assert {action.concept: action.kind for action in world.plan().actions} == {"aged-cat": "nothing"}
    assert [finding.wrong for finding in verify(world.installation) if finding.wrong] == []
    assert train_concept(**parameters) == "v1", "the run again"
    assert world.branches("aged-cat") == ["main", "v1"]


def test_a_concept_that_is_renamed_after_its_bundle_was_assembled_gets_another_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt fails when it publishes, because its token may only read."""
    world.write("plain-cat", seed=8200)
    world.push()
    parameters = world.trained("plain-cat")
    with monkeypatch.context() as environment:
        environment.setenv("CONCEPTRY_HUB_TOKEN", "hf_local_read")
        with pytest.raises(ConceptryError, match="403"):
            train_concept(**parameters)
    rename(world, "plain-cat", "fancy-cat")
    assert train_concept(**parameters) == "v1"
    version = world.there("fancy-cat").versions[0]
    manifest = world.session.manifest("fancy-cat", version.commit)
    assert manifest is not None
    assert (manifest.name, version.fingerprint) == ("fancy-cat", parameters["fingerprint"])
    assert tasks_of(last_run("train-concept"), "train")["train"] == "Cached"


def started_by_form(name: str) -> FlowRun:
    """A run that a person starts in Prefect's form with the name of a concept alone, after its end."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("train-concept/train-concept")
        started = client.create_flow_run_from_deployment(deployment.id, parameters={"name": name})
    set_state(started, Pending())
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_run(started.id)
    run_flow(train_concept, flow_run=waiting, parameters=waiting.parameters, return_type="state")
    with get_client(sync_client=True) as client:
        return client.read_flow_run(started.id)


def test_the_form_needs_a_name_only(world: World) -> None:
    world.write("form-cat", seed=4711)
    world.push()
    parameters = world.trained("form-cat")
    ended = started_by_form("form-cat")
    assert ended.state_name == "Completed"
    assert (ended.name, ended.parameters) == (f"form-cat v1 {parameters['fingerprint'][:8]}", parameters)
    assert [one.id for one in training_runs(parameters["fingerprint"])] == [ended.id], "plans find it"
    assert world.branches("form-cat") == ["main", "v1"]

    again = started_by_form("form-cat")
    assert (again.state_name, again.state and again.state.message) == (
        "Skipped", "The version of the inputs in git is published."
    )  # fmt: skip


def test_a_run_by_form_leaves_a_training_to_the_run_that_is_at_work(world: World) -> None:
    world.write("busy-cat", seed=4712)
    world.push()
    watch()
    (first,) = training_runs(world.action("busy-cat").fingerprint or "")
    second = started_by_form("busy-cat")
    assert second.state is not None
    assert (second.state_name, second.state.message) == ("Skipped", f"The run {first.name} trains the same.")
