"""Import: vectors that were learned elsewhere become a concept's version.

The version is published under the fingerprint of the concept as it lies in the working tree, before anything is pushed:
when it is, the plan finds its inputs published already, and trains nothing.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from conceptry.concept import ConceptSpec, DesiredConcept
from conceptry.errors import ConceptryError
from conceptry.fingerprint import training_fingerprint
from conceptry.gate import GateResult
from conceptry.settings import Settings
from conceptry.version import Version
from flows import state
from flows.lint import read_checkout
from tasks import dvc, hub
from tasks.embeds import Embeds, write_imported_metrics
from tasks.hub.card import EMBEDS

_EXPORT_TIMEOUT = 1800.0
"""Seconds; the full-size encoder is written in about a minute."""


@dataclass(frozen=True)
class Imported:
    """What was published, and whether it had been before."""

    version: Version
    existed: bool


def publish_embeds(settings: Settings, top: Path, name: str, embeds: Embeds) -> Imported:
    """Publish learned vectors as the version of a concept's inputs.

    Args:
        settings: of this installation.
        top: the working tree that holds concepts/NAME.
        name: the concept.
        embeds: the vectors.

    Raises:
        SpecError: the concept's files have mistakes.
        ConceptryError: the vectors do not fit concept.yaml, or could not be made a text encoder.
        HubError, TransientError: the Hub refused, or could not be asked.
    """
    wanted, spec = _concept(top, name)
    _check_fit(name, spec, embeds.rows)
    base = state.bases()[spec.base_model]
    fingerprint = training_fingerprint(spec, wanted.images or (), base)
    target = state.target(settings)
    known = hub.find_version(target, name, fingerprint)
    if known is not None:
        return Imported(known, existed=True)
    source = {"source": embeds.file.name, "sha256": sha256(embeds.file.read_bytes()).hexdigest()}
    with TemporaryDirectory(prefix="conceptry-import-") as folder:
        trained = Path(folder) / "trained"
        _write_trained(trained, spec, embeds.rows, settings.base_dir, source)
        bundle = hub.assemble(
            trained,
            Path(folder) / "bundle",
            name=name,
            spec=spec,
            base=base,
            lineage=hub.Lineage(
                fingerprint=fingerprint,
                inputs=fingerprint,
                commit=_head(top),
                dvc_md5=wanted.dvc_md5 or "",
                images=wanted.images or (),
                imported=source,
            ),
            gate=GateResult(True, (f"imported from {source['source']}; it was not judged here",)),
            repo=target.repo(name),
        )
        version = hub.publish(target, name, bundle, private=spec.space.private)
    there = state.list_hub(settings).concepts.get(name)
    hub.update_main(target, name, there.main.release if there and there.main else None)
    return Imported(version, existed=False)


def _concept(top: Path, name: str) -> tuple[DesiredConcept, ConceptSpec]:
    concepts = dvc.list_cached(read_checkout(top).concepts, top / ".dvc" / "cache" / "files" / "md5")
    wanted = concepts.get(name)
    if wanted is None:
        raise ConceptryError("is not in this working tree", concept=name, next_step="look at its name")
    if wanted.error is not None or wanted.spec is None:
        raise wanted.error or ConceptryError("has no concept.yaml", concept=name)
    if wanted.images is None:
        what = "the list of its images is not in this clone's DVC cache"
        raise ConceptryError(what, concept=name, next_step=f"run `dvc pull concepts/{name}/images.dvc`")
    return wanted, wanted.spec


def _check_fit(name: str, spec: ConceptSpec, rows: npt.NDArray[np.float32]) -> None:
    if spec.num_vectors != len(rows):
        what = f"the file holds {len(rows)} vectors, concept.yaml says num_vectors: {spec.num_vectors}"
        raise ConceptryError(what, concept=name, next_step=f"write num_vectors: {len(rows)}")


def _write_trained(
    folder: Path, spec: ConceptSpec, rows: npt.NDArray[np.float32], base_dir: Path | None, source: dict[str, str]
) -> None:
    """Lay down what the trainer leaves, as far as vectors alone can tell."""
    (folder / "samples").mkdir(parents=True)
    save_file({spec.placeholder_token: rows}, folder / EMBEDS, metadata={"format": "pt"})
    write_imported_metrics(folder, spec.base_model, **source)
    command = [
        sys.executable,
        "-m",
        "trainer.export",
        "--base-model",
        spec.base_model,
        "--embeds",
        str(folder / EMBEDS),
    ]
    command += ["--output", str(folder / "text_encoder"), *(["--base", str(base_dir)] if base_dir else [])]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_EXPORT_TIMEOUT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConceptryError(
            f"the text encoder could not be made: {last}",
            next_step=f"the vectors must fit {spec.base_model}, and its weights must be there (CONCEPTRY_BASE_DIR)",
        )


def _head(top: Path) -> str:
    done = subprocess.run(["git", "-C", str(top), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "0" * 40
