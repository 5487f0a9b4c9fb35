"""A live job is found again after a change of region, project, or of the concept's name, and is not paid twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulators.vertex.cloud import Cloud
from tasks.training.custom_job import label
from tasks.training.job_places import Place, Places
from tasks.training.vertex import Callbacks, end_jobs, train_vertex
from tasks.training.vertex_jobs import VertexJobs
from tests.support.clouds import connect
from tests.support.vertex_trainings import Training, vertex_settings

SLOW_STEPS = 30
SLOW = {"steps": SLOW_STEPS, "pace": 0.1}


def left_behind(cloud: Cloud, root: Path, steps: int = SLOW_STEPS) -> Training:
    """A training whose process was ended while its job was running."""
    training = Training(cloud, root, config=SLOW | {"steps": steps})

    def leave(_: object) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        training.run(on_progress=leave)
    assert training.states() == ["RUNNING"]
    return training


def elsewhere(training: Training, root: Path) -> Training:
    settings = {"region": "europe-west4"}
    return Training(training.cloud, root, config=SLOW, settings=settings, fingerprint=training.fingerprint)


def test_a_job_in_the_region_before_is_followed(cloud: Cloud, tmp_path: Path) -> None:
    first = left_behind(cloud, tmp_path / "before")
    second = elsewhere(first, tmp_path / "after")
    second.run()
    assert second.states() == ["SUCCEEDED"]
    assert "us-central1" in next(text for text in second.told if "console.cloud.google.com" in text)


def test_a_job_in_the_region_before_is_cancelled(cloud: Cloud, tmp_path: Path) -> None:
    first = left_behind(cloud, tmp_path / "before", steps=10_000)
    now = elsewhere(first, tmp_path / "after").open()
    live = now.jobs.live("tests")
    assert [job.home for job in live if first.fingerprint in job.home], "the reaper sees it as well"
    assert [job.state for job in end_jobs(first.order, now)] == ["CANCELLED"]


def test_each_region_is_asked_at_its_own_address(cloud: Cloud) -> None:
    asked: list[str] = []

    def connecting(endpoint: str) -> Any:
        asked.append(endpoint)
        return connect(cloud)

    places = Places(cloud.client().bucket(cloud.bucket), "addresses")
    places.add(Place(cloud.project.name, "us-east1"))
    settings = vertex_settings(cloud, region="europe-west4", api_endpoint=None)
    jobs = VertexJobs(settings, connecting, places=lambda _: places)
    assert jobs.live("addresses") == []
    assert asked == ["europe-west4-aiplatform.googleapis.com", "us-east1-aiplatform.googleapis.com"]


def test_a_project_that_is_gone_holds_nothing_up(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path)
    places = Places(cloud.client().bucket(cloud.bucket), "tests")
    places.add(Place("project-of-yore", "us-central1"))
    training.run()
    assert training.states() == ["SUCCEEDED"]
    assert any("project-of-yore" in text for text in training.warnings)
    assert Place(cloud.project.name, "us-central1") in places.read()
    cloud.client().bucket(cloud.bucket).blob(f"conceptry-places/{label('tests')}.json").delete()


def test_the_record_of_places_is_written_by_several_at_once(cloud: Cloud) -> None:
    bucket = cloud.client().bucket(cloud.bucket)
    first, second = Places(bucket, "several"), Places(bucket, "several")
    assert first.read() == second.read() == ()
    first.add(Place("a", "us-east1"))
    second.add(Place("b", "us-east1"))
    second.add(Place("b", "us-east1"))
    assert first.read() == (Place("a", "us-east1"), Place("b", "us-east1"))
    bucket.blob("conceptry-places/several.json").upload_from_string(b"[")
    assert first.read() == ()


@pytest.mark.parametrize("live", [True, False])
def test_a_job_of_the_concepts_name_before_is_followed(cloud: Cloud, tmp_path: Path, live: bool) -> None:
    """The folder concepts/grey-cat was renamed; the fingerprint holds no name."""
    if live:
        first = left_behind(cloud, tmp_path / "before")
    else:
        first = Training(cloud, tmp_path / "before", config=SLOW)
        first.run()
    renamed = Training(cloud, tmp_path / "after", config=SLOW, fingerprint=first.fingerprint)
    metrics = train_vertex(
        replace(renamed.request, concept="black-cat"), replace(renamed.order, concept="black-cat"), renamed.open(),
        Callbacks(),
    )  # fmt: skip
    assert metrics.steps == SLOW_STEPS
    assert renamed.states() == ["SUCCEEDED"]
    assert (renamed.root / "output" / "1.bin").is_file()
