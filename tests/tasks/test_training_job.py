"""What is asked of Vertex AI: settings checked together, and the CustomJob that they make, written out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.cloud.aiplatform_v1.types import CustomJob

from conceptry.errors import SettingsError
from conceptry.machine_types import misfits
from conceptry.vertex_settings import VertexSettings
from tasks.training.cost import Prices, Use, estimate
from tasks.training.custom_job import JobSpec, custom_job, label

IMAGE = "us-central1-docker.pkg.dev/my-project/conceptry/trainer@sha256:" + "0123456789abcdef" * 4
ORDER = JobSpec("grey-cat", "f" * 63 + "0", "hf.co/Our.Team", "Run-7", "my-bucket")
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "spot": {
        "provisioning": "spot", "timeout_hours": 1.5, "boot_disk_type": "pd-standard", "boot_disk_gb": 200,
        "labels": {"team": "cats"}, "base": "gs://weights/sd-v1-4",
        "network": "projects/12345/global/networks/ours",
        "service_account": "trainer@my-project.iam.gserviceaccount.com",
        "tensorboard": "projects/12345/locations/us-central1/tensorboards/678",
    },
    "flex-start": {"provisioning": "flex-start", "max_wait_hours": 6, "machine_type": "a2-ultragpu-2g",
                   "accelerator_type": "NVIDIA_A100_80GB", "accelerator_count": 2, "region": "europe-west4"},
    "two-workers": {"replicas": 2},
}  # fmt: skip


def settings(**values: Any) -> VertexSettings:
    return VertexSettings(**{"project": "my-project", "image": IMAGE, **values})


@pytest.mark.parametrize("case", CASES)
def test_the_job_is_what_is_written_down(case: str) -> None:
    """The server's test sends the same ones: what it received is compared with the same files."""
    job = CustomJob(custom_job(ORDER, settings(**CASES[case]), attempt="0123456789ab"))
    shown = CustomJob.to_dict(job, use_integers_for_enums=False, always_print_fields_with_no_presence=False)
    expected = Path(__file__).parent / "vertex_jobs" / f"{case}.json"
    assert shown == json.loads(expected.read_text(encoding="utf-8"))


def test_a_job_reads_published_vectors_from_its_folder() -> None:
    order = replace(ORDER, vectors={"released": "released/v3.safetensors", "initial": "initial/my-cat@v2.safetensors"})
    (pool,) = custom_job(order, settings())["job_spec"]["worker_pool_specs"]
    arguments = pool["container_spec"]["args"]
    where = {option: arguments[arguments.index(option) + 1] for option in ("--released", "--initial")}
    folder = f"/gcs/my-bucket/conceptry/hf-co-our-team/grey-cat/{ORDER.fingerprint}"
    assert where == {
        "--released": f"{folder}/released/v3.safetensors",
        "--initial": f"{folder}/initial/my-cat@v2.safetensors",
    }


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = {
        "image": "us-docker.pkg.dev/my-project/conceptry/trainer:latest", "machine_type": "a2-highgpu-2g",
        "max_wait_hours": 2, "tensorboard": "projects/1/locations/us-east1/tensorboards/1",
        "labels": {"Team": "x", "conceptry-x": "1"}, "boot_disk_type": "floppy", "network": "default",
        "timeout_hours": 200, "region": "Iowa",
    }  # fmt: skip
    with pytest.raises(SettingsError) as caught:
        settings(**wrong)
    told = str(caught.value)
    for name in ("image", "accelerator_type", "max_wait_hours", "tensorboard", "labels", "boot_disk_type", "network",
                 "timeout_hours", "region"):  # fmt: skip
        assert f"CONCEPTRY_VERTEX_{name.upper()}: " in told, name
    assert "@sha256:DIGEST" in told
    assert "a2-highgpu-2g has 2 x NVIDIA_TESLA_A100" in told
    assert "needs CONCEPTRY_VERTEX_SERVICE_ACCOUNT" in told


def test_what_is_missing_is_said_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTRY_VERTEX_REPLICAS", "none")
    monkeypatch.setenv("CONCEPTRY_VERTEX_NETWORK", "default")
    monkeypatch.setenv("CONCEPTRY_VERTEX_MACHINE_TYPE", "a2-highgpu-4g")
    with pytest.raises(
        SettingsError, match=r"IMAGE: is missing.*PROJECT: is missing.*REPLICAS.*NETWORK.*has 4 x NVIDIA"
    ):
        VertexSettings()


def test_a_machine_without_accelerators_is_set_by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTRY_VERTEX_ACCELERATOR_TYPE", "none")
    made = settings(machine_type="n1-standard-8", accelerator_count=0)
    pool = custom_job(ORDER, made)["job_spec"]["worker_pool_specs"][0]
    assert pool["machine_spec"] == {"machine_type": "n1-standard-8"}


@pytest.mark.parametrize(
    ("machine", "accelerator", "count", "fits"),
    [
        ("a2-highgpu-1g", "NVIDIA_TESLA_A100", 1, True),
        ("a2-highgpu-1g", "NVIDIA_TESLA_A100", 2, False),
        ("a2-highgpu-3g", "NVIDIA_TESLA_A100", 3, False),
        ("a2-highgpu-1g", None, 0, False),
        ("g2-standard-24", "NVIDIA_L4", 2, True),
        ("n1-standard-8", "NVIDIA_TESLA_T4", 1, True),
        ("n1-standard-8", "NVIDIA_TESLA_T4", 3, False),
        ("n1-standard-8", "NVIDIA_TESLA_A100", 1, False),
        ("n2-standard-8", None, 0, True),
        ("n2-standard-8", "NVIDIA_TESLA_T4", 1, False),
        ("n2-standard-8", None, 1, False),
        ("big one", None, 0, False),
    ],
)
def test_machines_and_accelerators(machine: str, accelerator: str | None, count: int, fits: bool) -> None:
    assert (misfits(machine, accelerator, count) == []) is fits


def test_a_label_is_made_of_any_text() -> None:
    assert label("hf.co/Our.Team") == "hf-co-our-team"
    assert len(label("f" * 64)) == 63


def use(seconds: float, *, billed: bool = True, machine: str = "a2-highgpu-1g", replicas: int = 1) -> Use:
    return Use("1", machine, "NVIDIA_TESLA_A100", 1, replicas, seconds, billed)


def test_cost_is_time_by_price_and_a_failed_job_costs_nothing() -> None:
    prices = Prices.load(None)
    told = estimate([use(1800), use(600, billed=False), use(900, replicas=2)], prices, "standard")
    assert told["amount"] == pytest.approx(4.41)
    assert told["billed_seconds"] == 2700
    assert told["prices"]["date"] == prices.date
    assert "a2-highgpu-8g" in told["prices"]["source"]
    assert estimate([use(60, machine="n1-standard-8")], prices, "spot")["amount"] is None
    spot = estimate([use(3600)], prices, "spot")["amount"]
    assert spot == prices.spot["a2-highgpu-1g"] < told["amount"]
    assert estimate([use(3600)], prices, "flex-start")["amount"] == prices.machines["a2-highgpu-1g"]
    unknown = prices.model_copy(update={"spot": {}})
    assert estimate([use(3600)], unknown, "spot")["amount"] == prices.machines["a2-highgpu-1g"]


def test_another_price_table(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"date": "2027-01-01", "source": "ours", "machines": {"n1-standard-8": 0.5}, '
                    '"accelerators": {"NVIDIA_TESLA_A100": 3.5}, "currency": "EUR"}')  # fmt: skip
    told = estimate([use(3600, machine="n1-standard-8")], Prices.load(path), "standard")
    assert (told["amount"], told["currency"]) == (4.0, "EUR")
    path.write_text('{"date": 1}')
    with pytest.raises(SettingsError, match=r"prices\.json"):
        Prices.load(path)
