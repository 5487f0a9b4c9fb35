"""Bundles for the tests of the Hub: small, but made by the production code from a trainer's output folder."""

from pathlib import Path
from typing import Any

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.desired import ImageRef
from conceptry.gate import GateFinding, GateResult, judge
from conceptry.reasons import GateReason
from conceptry.version import Gate, Thresholds
from tasks.hub import Lineage, assemble
from tests.support.trained import make_trained
from trainer.metrics import METRICS_FILE, read_metrics

BASE = BaseModel("sd-v1-4", "d" * 64, 1, 512)


def make_spec(**changes: Any) -> ConceptSpec:
    return ConceptSpec.model_validate(
        {"placeholder_token": "<x>", "initializer_token": "cat", "base_model": "sd-v1-4", **changes}
    )


def make_bundle(
    folder: Path,
    name: str,
    *,
    fingerprint: str,
    loss: float = 0.05,
    spec: ConceptSpec | None = None,
    verdict: Gate = "passed",
    judged: Thresholds | None = None,
) -> Path:
    """Assemble a version; with `judged` its metrics are judged by these thresholds, and `verdict` does not count."""
    seed = int(fingerprint[:2], 16)
    trained = make_trained(folder.with_name(folder.name + "-trained"), loss=loss, base_model="sd-v1-4", seed=seed)
    lineage = Lineage(
        fingerprint=fingerprint,
        inputs=fingerprint,
        commit="e" * 40,
        dvc_md5="f" * 32 + ".dir",
        images=(ImageRef("a.jpg", "0" * 32), ImageRef("b.jpg", "1" * 32)),
        prefect_run="run-1",
        created="2026-11-22T10:00:00+00:00",
    )
    gate = GateResult((GateFinding(GateReason.IMPROVED, verdict, "held-out loss 0.1 -> 0.05"),))
    if judged is not None:
        gate = judge(read_metrics(trained / METRICS_FILE), judged)
    return assemble(
        trained, folder, name=name, spec=spec or make_spec(), base=BASE, lineage=lineage, gate=gate,
        repo=f"local/{name}",
    )  # fmt: skip
