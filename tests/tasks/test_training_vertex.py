"""Training on Vertex AI when all goes well: what is sent, what is shown, what comes back."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.cloud.aiplatform_v1.types import CustomJob

from conceptry.errors import SettingsError
from emulators.vertex.cloud import Cloud
from tasks.training.bucket import Store, clean_prefixes
from tasks.training.custom_job import JobSpec
from tasks.training.vertex import Callbacks, train_vertex
from tests.support.clouds import IMAGE, parent
from tests.support.vertex_trainings import Training, open_emulator, vertex_settings
from tests.tasks.test_training_job import CASES, ORDER, settings


def test_records_go_there_and_results_come_back(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path)
    metrics = training.run()
    assert metrics.model_dump()["records"] == ["images-00000.tfrecord", "images-00001.tfrecord"]
    assert (tmp_path / "output" / "1.bin").read_bytes() == b"what was learned, part 1" * 100
    assert not (tmp_path / "output" / "checkpoints").exists(), "only a later job needs them"
    assert [one.step for one in training.progress] == [1, 2, 3]
    told = "\n".join(training.told)
    page = "console.cloud.google.com/vertex-ai/training/us-central1/"
    for words in ("uploaded 3 files to gs://", page, "is pending", "is succeeded"):
        assert words in told
    assert (training.states(), training.most_live()) == (["SUCCEEDED"], 1)

    cost = json.loads((tmp_path / "output" / "cost.json").read_text())
    assert cost["machine_type"] == "a2-highgpu-1g"
    assert 0 < cost["amount"] == pytest.approx(cost["billed_seconds"] * 4.41 / 3600, abs=1e-3)
    assert training.run() == metrics, "nothing is done twice"
    assert training.states() == ["SUCCEEDED"]


def test_results_that_are_in_the_bucket_need_no_job(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path / "here")
    metrics = training.run()
    there = Training(cloud, tmp_path / "elsewhere", fingerprint=training.fingerprint)
    assert there.run() == metrics
    assert there.states() == ["SUCCEEDED"]


def test_published_vectors_are_sent_beside_the_records(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path)
    files = {"released": tmp_path / "v3.safetensors", "initial": tmp_path / "my-cat@v2.safetensors"}
    for path in files.values():
        path.write_bytes(b"vectors")
    train_vertex(replace(training.request, vectors=files), training.order, training.open(), Callbacks())
    assert {"released/v3.safetensors", "initial/my-cat@v2.safetensors"} <= set(training.objects())


def test_what_is_there_with_the_same_hash_is_not_sent_again(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path, config={"steps": 1, "exit": 2}, records=3)
    bucket = cloud.client().bucket(cloud.bucket)
    with pytest.raises(Exception, match="this will not do"):
        training.run()
    generation = bucket.get_blob(training.order.prefix + "records/images-00000.tfrecord").generation
    bucket.blob(training.order.prefix + "records/images-00001.tfrecord").upload_from_string("damaged")
    bucket.blob(training.order.prefix + "records/images-00009.tfrecord").upload_from_string("of another training")
    training.config = {"steps": 1}
    training.told.clear()
    assert training.run().model_dump()["records"] == [f"images-0000{number}.tfrecord" for number in range(3)]
    assert training.told[0].startswith("uploaded 2 files"), "the damaged one and the configuration"
    assert bucket.get_blob(training.order.prefix + "records/images-00000.tfrecord").generation == generation


@pytest.mark.parametrize("case", CASES)
def test_the_server_receives_what_is_written_down(cloud: Cloud, case: str) -> None:
    made = settings(**CASES[case])
    ours = vertex_settings(cloud, **CASES[case])
    cloud.faults.hold()
    order = JobSpec(ORDER.concept, ORDER.fingerprint, ORDER.installation, ORDER.run, ORDER.bucket)
    jobs = open_emulator(ours, cloud.service_account, cloud.bucket).jobs
    job = jobs.find_or_create(order)
    received = CustomJob.to_dict(
        cloud.jobs.received[-1], use_integers_for_enums=False, always_print_fields_with_no_presence=False
    )
    jobs.end(job)
    assert len(received["labels"].pop("conceptry_attempt")) == 12
    for pool in received["job_spec"]["worker_pool_specs"]:
        assert pool["container_spec"]["image_uri"] == IMAGE
        pool["container_spec"]["image_uri"] = made.image
    expected = json.loads((Path(__file__).parent / "vertex_jobs" / f"{case}.json").read_text(encoding="utf-8"))
    del expected["labels"]["conceptry_attempt"]
    assert received == expected
    assert job.name.startswith(parent(cloud).rpartition("/")[0])


def test_only_so_many_trainings_have_a_job_at_a_time(cloud: Cloud, tmp_path: Path) -> None:
    first = Training(cloud, tmp_path / "a")
    second = Training(cloud, tmp_path / "b", settings={"max_jobs": 1})
    sleeper = replace(first.order, command=(sys.executable, "-c", "import time; time.sleep(600)"))
    at_work = first.open().jobs.find_or_create(sleeper)
    asked: list[str] = []

    def end_the_first() -> bool:
        if second.told and "waiting for a job to end" in second.told[-1] and not asked:
            asked.append("end")
            first.open().jobs.end(at_work)
        return False

    second.run(is_cancelled=end_the_first)
    assert asked
    assert (first.states(), second.states()) == (["CANCELLED"], ["SUCCEEDED"])


def test_what_google_refuses_is_said_with_what_to_do(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path, settings={"project": "someone-elses"})
    with pytest.raises(SettingsError, match=r"Permission denied.*conceptry setup gcp"):
        training.run()
    bucket = training.open().bucket.client.bucket("no-such-bucket")
    with pytest.raises(SettingsError, match="gs://no-such-bucket/x/"):
        Store(bucket, "x/", "grey-cat").upload({}, "records")


def test_no_machine_is_rented_that_would_find_no_weights(cloud: Cloud, tmp_path: Path) -> None:
    training = Training(cloud, tmp_path, config={"base_model": "sd-v1-4"})
    with pytest.raises(SettingsError, match="CONCEPTRY_VERTEX_BASE"):
        training.run()
    assert (training.states(), training.objects()) == ([], [])


def test_old_prefixes_are_cleaned(cloud: Cloud, tmp_path: Path) -> None:
    old, young = (Training(cloud, tmp_path / name) for name in ("old", "young"))
    for training in (old, young):
        training.run()
    bucket = old.open().bucket

    def keep(name: str, fingerprint: str) -> bool:
        return (name, fingerprint) != ("grey-cat", old.fingerprint)

    uri = f"gs://{cloud.bucket}/{old.order.prefix}"
    now = datetime.now(UTC)
    day_before = now - timedelta(days=1)
    assert clean_prefixes(bucket, old.order.installation, keep, before=day_before, delete=True) == {}, (
        "a failed run may be retried"
    )
    planned = clean_prefixes(bucket, old.order.installation, keep, before=now)
    assert list(planned) == [uri]
    assert planned[uri] > 1000
    assert old.objects()
    assert clean_prefixes(bucket, old.order.installation, keep, before=now, delete=True) == planned
    assert (old.objects(), bool(young.objects())) == ([], True)
