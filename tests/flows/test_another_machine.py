"""A retry on another machine, whose work folder is empty: a new pod."""

from datetime import UTC, datetime

import pytest
from prefect_gcp.cloud_storage import GcsBucket

from cli.setup_gcp import register_blocks
from conceptry.errors import HubError, SettingsError
from conceptry.vertex_settings import VertexBasics
from emulators.vertex.cloud import Cloud
from flows.train_concept import train_concept
from flows.vertex_hooks import clean_bucket
from tests.support.registry_world import World, last_run, tasks_of

BLOCK = "results"


@pytest.fixture
def results(world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world that keeps results of steps in a bucket."""
    register_blocks(VertexBasics(bucket=BLOCK), cloud.service_account, cloud.bucket, None)
    monkeypatch.setenv("CONCEPTRY_RESULTS_BUCKET", BLOCK)
    return world


def kept(fingerprint: str) -> list[str]:
    """The steps of a training that the bucket keeps."""
    bucket = GcsBucket.load(BLOCK, _sync=True).get_bucket()  # type: ignore[union-attr]
    names = [blob.name for blob in bucket.client.list_blobs(bucket.name, prefix="conceptry/")]
    return sorted(name.rpartition("/")[2] for name in names if f"/{fingerprint}/steps/" in name)


def fail_to_publish(world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Run a training whose Hub token may only read; the parameters of the run."""
    world.write(name)
    world.push()
    parameters = world.trained(name)
    with monkeypatch.context() as mistake:
        mistake.setenv("CONCEPTRY_HUB_TOKEN", "hf_local_read")
        with pytest.raises(HubError):
            train_concept(**parameters)
    return parameters


def test_a_retry_in_a_new_pod_goes_on_at_the_failed_step(results: World, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = fail_to_publish(results, "far-cat", monkeypatch)
    first = tasks_of(last_run("train-concept"), "train", "publish")
    assert (first["train"], first["publish"]) == ("Completed", "Failed")
    assert kept(parameters["fingerprint"]) == ["fetch-images.tar", "train.tar", "write-records.tar"]

    monkeypatch.setenv("CONCEPTRY_WORK", str(results.root / "another-pod"))
    assert not results.run_folder(parameters["fingerprint"]).root.exists()
    assert train_concept(**parameters) == "v1"
    second = tasks_of(last_run("train-concept"), "fetch images", "write records", "train")
    assert [second[name] for name in ("fetch images", "write records", "train")] == ["Cached"] * 3
    assert results.branches("far-cat") == ["main", "v1"]
    assert kept(parameters["fingerprint"]) == [], "the version is on the Hub"


@pytest.fixture
def shared(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose workers share a folder of results of steps, which a group may write."""
    folder = world.root / "shared"
    folder.mkdir()
    folder.chmod(0o2770)
    monkeypatch.setenv("CONCEPTRY_RESULTS_FOLDER", str(folder))
    return world


def shared_files(world: World) -> list[str]:
    return sorted(path.name for path in (world.root / "shared").rglob("*") if path.is_file())


def test_a_retry_by_another_worker_goes_on_from_a_shared_folder(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = fail_to_publish(shared, "near-cat", monkeypatch)
    assert shared_files(shared) == ["fetch-images.tar", "train.tar", "write-records.tar"]
    made = list((shared.root / "shared").rglob("*"))
    assert {path.stat().st_mode & 0o7777 for path in made if path.is_dir()} == {0o2770}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o660}

    monkeypatch.setenv("CONCEPTRY_WORK", str(shared.root / "another-worker"))
    assert train_concept(**parameters) == "v1"
    second = tasks_of(last_run("train-concept"), "fetch images", "write records", "train")
    assert [second[name] for name in ("fetch images", "write records", "train")] == ["Cached"] * 3
    assert shared_files(shared) == [], "the version is on the Hub"


def test_a_shared_folder_loses_what_was_given_up_and_has_to_exist(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = fail_to_publish(shared, "left-cat", monkeypatch)
    installation, now = shared.installation, datetime.now(UTC)
    assert not clean_bucket(installation, datetime(2020, 1, 1, tzinfo=UTC), delete=True), "it is too new"
    [place] = clean_bucket(installation, now, delete=False)
    assert place.endswith(f"/left-cat/{parameters['fingerprint']}")
    clean_bucket(installation, now, delete=True)
    assert shared_files(shared) == []
    monkeypatch.setenv("CONCEPTRY_RESULTS_FOLDER", str(shared.root / "nowhere"))
    with pytest.raises(SettingsError, match="CONCEPTRY_RESULTS_FOLDER"):
        train_concept(**parameters)


def test_what_is_kept_of_a_training_that_was_given_up_is_garbage(
    results: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = fail_to_publish(results, "dull-cat", monkeypatch)
    installation, now = results.installation, datetime.now(UTC)
    assert not clean_bucket(installation, datetime(2020, 1, 1, tzinfo=UTC), delete=True), "it is too new"
    [uri] = clean_bucket(installation, now, delete=False)
    assert uri.endswith(f"/dull-cat/{parameters['fingerprint']}/")
    clean_bucket(installation, now, delete=True)
    assert kept(parameters["fingerprint"]) == []


def test_a_bucket_that_does_not_exist_is_said_before_anything_is_trained(
    results: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.write("poor-cat")
    results.push()
    monkeypatch.setenv("CONCEPTRY_RESULTS_BUCKET", "nowhere")
    with pytest.raises(SettingsError, match="no Prefect block gcs-bucket/nowhere"):
        train_concept(**results.trained("poor-cat"))
    assert tasks_of(last_run("train-concept")) == {}
