"""A retry on another machine, whose work folder is empty: a new pod, or another worker that shares a folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Place:
    """Where a world keeps the results of steps: the setting that names it, and the paths of all files there."""

    setting: str
    paths: Callable[[], Iterable[str]]

    def steps(self, fingerprint: str) -> list[str]:
        """Return the files of a training."""
        return sorted(path.rpartition("/")[2] for path in self.paths() if f"/{fingerprint}/" in path)


def use_bucket(_: World, cloud: Cloud) -> Place:
    """Keep results in a bucket."""
    register_blocks(VertexBasics(bucket=BLOCK), cloud.service_account, cloud.bucket, None)

    def paths() -> list[str]:
        bucket = GcsBucket.load(BLOCK, _sync=True).get_bucket()  # type: ignore[union-attr]
        return [blob.name for blob in bucket.client.list_blobs(bucket.name) if "/steps/" in blob.name]

    return Place("CONCEPTRY_RESULTS_BUCKET", paths)


def use_folder(world: World, _: Cloud) -> Place:
    """Keep results in a folder that a group may write."""
    folder = world.root / BLOCK
    folder.mkdir()
    folder.chmod(0o2770)
    return Place("CONCEPTRY_RESULTS_FOLDER", lambda: [str(path) for path in folder.rglob("*") if path.is_file()])


@pytest.fixture(params=[use_bucket, use_folder], ids=["bucket", "folder"])
def place(request: pytest.FixtureRequest, world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where the world keeps results of steps."""
    found: Place = request.param(world, cloud)
    monkeypatch.setenv(found.setting, BLOCK if request.param is use_bucket else str(world.root / BLOCK))
    return found


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


def test_a_retry_elsewhere_goes_on_at_the_failed_step(
    place: Place, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = fail_to_publish(world, "far-cat", monkeypatch)
    first = tasks_of(last_run("train-concept"), "train", "publish")
    assert (first["train"], first["publish"]) == ("Completed", "Failed")
    assert place.steps(parameters["fingerprint"]) == ["fetch-images.tar", "train.tar", "write-records.tar"]
    shared = list((world.root / BLOCK).rglob("*"))  # nothing, if it is a bucket
    assert {path.stat().st_mode & 0o7777 for path in shared if path.is_dir()} <= {0o2770}
    assert {path.stat().st_mode & 0o777 for path in shared if path.is_file()} <= {0o660}

    monkeypatch.setenv("CONCEPTRY_WORK", str(world.root / "elsewhere"))
    assert not world.run_folder(parameters["fingerprint"]).root.exists()
    assert train_concept(**parameters) == "v1"
    second = tasks_of(last_run("train-concept"), "fetch images", "write records", "train")
    assert [second[name] for name in ("fetch images", "write records", "train")] == ["Cached"] * 3
    assert world.branches("far-cat") == ["main", "v1"]
    assert place.steps(parameters["fingerprint"]) == [], "the version is on the Hub"


def test_what_is_kept_of_a_training_that_was_given_up_is_garbage(
    place: Place, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = fail_to_publish(world, "dull-cat", monkeypatch)
    installation, now = world.installation, datetime.now(UTC)
    assert not clean_bucket(installation, datetime(2020, 1, 1, tzinfo=UTC), delete=True), "it is too new"
    [found] = clean_bucket(installation, now, delete=False)
    assert found.rstrip("/").endswith(f"/dull-cat/{parameters['fingerprint']}")
    clean_bucket(installation, now, delete=True)
    assert place.steps(parameters["fingerprint"]) == []


def test_a_place_that_does_not_exist_is_said_before_anything_is_trained(
    place: Place, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("poor-cat")
    world.push()
    monkeypatch.setenv(place.setting, "nowhere")
    with pytest.raises(SettingsError, match="nowhere"):
        train_concept(**world.trained("poor-cat"))
    assert tasks_of(last_run("train-concept")) == {}
