"""Bundle: the folder that becomes a version, assembled from the trainer's output and its lineage."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conceptry.concept import BaseModel, ConceptSpec, dump_spec
from conceptry.desired import ImageRef
from conceptry.errors import TrainingError
from conceptry.gate import GateResult
from conceptry.space_settings import SERVING_MODULES, serving_settings
from conceptry.version import Manifest
from tasks.hub.card import EMBEDS, render_card
from tasks.hub.session import MANIFEST
from trainer.base_weights.presets import of, shipped_paths
from trainer.metrics import METRICS_FILE, MetricsError, TrainingMetrics, read_metrics

ROOT = Path(__file__).resolve().parents[2]
"""Parent folder of the packages, in a checkout and in an installed package alike."""
HANDLER = "handler.py"
REQUIREMENTS = "requirements.txt"


@dataclass(frozen=True)
class Lineage:
    """Lineage of a version; see Manifest for the fields. `created` defaults to the current time."""

    fingerprint: str
    inputs: str
    commit: str
    dvc_md5: str
    images: tuple[ImageRef, ...]
    retrain: str | None = None
    prefect_run: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, Any] | None = None
    imported: Mapping[str, Any] | None = None
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def assemble(
    trained: Path,
    destination: Path,
    *,
    name: str,
    spec: ConceptSpec,
    base: BaseModel,
    lineage: Lineage,
    gate: GateResult,
    repo: str,
) -> Path:
    """Assemble a version in `destination`, which appears complete or not at all; an existing one is kept.

    Args:
        trained: Output folder of the trainer.
        destination: Folder to make.
        name: Name of the concept.
        spec: Its concept.yaml.
        base: Preset that it was trained on.
        lineage: Lineage of the version.
        gate: Verdict on its metrics.
        repo: Id of the model repo, `owner/name`, for the card.

    Raises:
        TrainingError: files are missing in the trainer's output, or it was trained on unverified weights.
    """
    if destination.is_dir():
        return destination
    metrics = _read_metrics(trained, name)
    part = destination.with_name(destination.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _copy_results(trained, part)
    settings = serving_settings(name, spec, base, version_name="", metrics=metrics, model_repo=repo, revision=None)
    settings["version"] = None
    render_handler(part, settings, spec.endpoint.override)
    manifest = Manifest(
        name=name,
        fingerprint=lineage.fingerprint,
        inputs=lineage.inputs,
        retrain=lineage.retrain,
        images={image.relpath: image.md5 for image in lineage.images},
        spec=dump_spec(spec) | {"resolution": spec.resolution or base.resolution},
        base_model=base.name,
        base_digest=base.digest,
        recipe=base.recipe,
        commit=lineage.commit,
        dvc_md5=lineage.dvc_md5,
        prefect_run=lineage.prefect_run,
        gate=gate.verdict,
        reasons=[finding.text for finding in gate.findings],
        gate_reasons=[finding.reason for finding in gate.findings],
        evidence=gate.evidence,
        judged=gate.judged,
        metrics=metrics,
        seconds=dict(lineage.seconds),
        cost=dict(lineage.cost) if lineage.cost is not None else None,
        imported=dict(lineage.imported) if lineage.imported is not None else None,
        created=lineage.created,
    )
    (part / "README.md").write_text(render_card(manifest, repo=repo, files=paths(part)), encoding="utf-8")
    digests = {path: hashlib.sha256((part / path).read_bytes()).hexdigest() for path in paths(part)}
    whole = manifest.model_copy(update={"files": digests})
    (part / MANIFEST).write_text(whole.model_dump_json(indent=2) + "\n", encoding="utf-8")
    part.rename(destination)
    return destination


def paths(folder: Path) -> Sequence[str]:
    """Return the relative path, with /, of every file under a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def render_handler(folder: Path, settings: Mapping[str, Any], override: Mapping[str, str] | None = None) -> None:
    """Write the Inference Endpoint handler to a folder: the template, its settings, and the trainer's modules.

    `override` are files, by name, that replace files of the template or are added to them.
    """
    template = ROOT / "handler_template"
    shutil.copyfile(template / HANDLER, folder / HANDLER)
    requirements = (template / REQUIREMENTS).read_text(encoding="utf-8")
    if settings["base_model"] != "tiny":
        # Its endpoints have a GPU, and TensorFlow finds CUDA only in pip's packages.
        requirements = requirements.replace("tensorflow==", "tensorflow[and-cuda]==")
    (folder / REQUIREMENTS).write_text(requirements, encoding="utf-8")
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / "settings.json").write_text(text, encoding="utf-8")
    shipped = shipped_paths(of(settings["base_model"], settings.get("base")))
    for path in (*SERVING_MODULES, *shipped):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    for name, text in (override or {}).items():
        (folder / name).write_text(text, encoding="utf-8")


def _read_metrics(trained: Path, name: str) -> TrainingMetrics:
    missing = [path for path in (METRICS_FILE, EMBEDS, "text_encoder") if not (trained / path).exists()]
    if missing:
        what = f"the trainer wrote no {', '.join(missing)} to {trained}"
        raise TrainingError(what, concept=name, next_step="train again")
    try:
        metrics = read_metrics(trained / METRICS_FILE)
    except MetricsError as error:
        raise TrainingError(str(error), concept=name) from error
    if not metrics.weights.verified:
        # A version names the digests of the published weights, on which this one was not trained.
        what = "it was trained with --unverified, on other weights than the base model's"
        raise TrainingError(what, concept=name, next_step="train again on the published weights")
    return metrics


def _copy_results(trained: Path, folder: Path) -> None:
    shutil.copyfile(trained / EMBEDS, folder / EMBEDS)
    shutil.copytree(trained / "text_encoder", folder / "text_encoder")
    (folder / "samples").mkdir()
    for sample in sorted((trained / "samples").glob("*.png")):
        shutil.copyfile(sample, folder / "samples" / sample.name)
