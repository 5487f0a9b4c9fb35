"""Publication of vectors that were learned elsewhere as a concept's version.

The version is published under the fingerprint of the concept in the working tree, before the user pushes it. After the
push the plan finds the inputs published already and starts no training.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from cli.checkout_files import read_checkout
from cli.new import Added, NewConcept, add_concept
from conceptry.concept import PLACEHOLDER, ConceptSpec
from conceptry.desired import DesiredConcept
from conceptry.errors import ConceptryError, TransientError
from conceptry.fingerprint import training_fingerprint
from conceptry.gate import GateFinding, GateResult
from conceptry.installation import Installation
from conceptry.reasons import GateReason
from conceptry.version import Version
from tasks import dvc, hub, training
from tasks.base_entries import presets, reference
from tasks.embeds import Embeds, write_imported_metrics
from tasks.git.checkout import commit_of, dvc_root
from tasks.hub.card import EMBEDS
from tasks.processes import child_environment, python_module, run_to_end
from tasks.vector_widths import base_model_of_width, check_width

_EXPORT_TIMEOUT = 1800.0
"""Seconds; the full-size encoder is written in about a minute."""


@dataclass(frozen=True)
class Imported:
    """Published version, and whether it existed before."""

    version: Version
    existed: bool


@dataclass(frozen=True)
class Wanted:
    """Options of an import; what is None comes from the file.

    Attributes:
        token: Placeholder token of a new concept.
        init: Its initializer.
        base_model: Its base model.
        images: Folder of its images.
    """

    token: str | None = None
    init: str | None = None
    base_model: str | None = None
    images: Path | None = None


def import_embeds(
    installation: Installation, top: Path, name: str, embeds: Embeds, wanted: Wanted
) -> tuple[Imported, Added | None]:
    """Publish learned vectors as a version of a concept, which is added to the working tree if it is not there.

    Args:
        installation: Installation, for the Hub and the base model's weights.
        top: Top of the working tree.
        name: Name of the concept.
        embeds: The vectors.
        wanted: What the user asked for.

    Returns:
        The version, and what was added; None if the concept existed.

    Raises:
        SpecError: the name, the token or the concept's files have mistakes.
        ConceptryError: the vectors fit no base model or do not match concept.yaml, or the text encoder could not be
            written.
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    added = None
    if not (top / "concepts" / name).exists():
        base_model = base_model_of(installation, top, embeds, wanted)
        kind = embeds.learnable_property
        images = wanted.images or (embeds.images[0].parent if embeds.images else None)
        token = token_of(name, embeds, wanted)
        new = NewConcept(name, images, token, wanted.init or kind, kind, base_model, len(embeds.rows))
        added = add_concept(top, new)
    return publish_embeds(installation, top, name, embeds), added


def base_model_of(installation: Installation, top: Path, embeds: Embeds, wanted: Wanted) -> str:
    """Return the base model for vectors: the one that was asked for, or one of their width.

    Raises:
        ConceptryError: the vectors do not fit it, or fit none or several.
    """
    known, width = presets(top), embeds.rows.shape[1]
    if wanted.base_model is None:
        return base_model_of_width(width, known, installation.base_dir)
    check_width(width, known[wanted.base_model], known, installation.base_dir)
    return wanted.base_model


def token_of(name: str, embeds: Embeds, wanted: Wanted) -> str:
    """Return the placeholder token of a new concept."""
    return (wanted.token or placeholder_of(embeds.token or "") or f"<{name}>").lower()


def placeholder_of(token: str) -> str | None:
    """Return a placeholder token for the token of a file, which may have no brackets; None if nothing is left of it."""
    word = re.sub(r"[^a-z0-9_-]+", "-", token.lower()).strip("-_")
    return f"<{word}>" if PLACEHOLDER.fullmatch(f"<{word}>") else None


def publish_embeds(installation: Installation, top: Path, name: str, embeds: Embeds) -> Imported:
    """Publish learned vectors as the version of a concept's inputs.

    Args:
        installation: Installation, for the Hub and the base model's weights.
        top: Top of the working tree that contains concepts/NAME.
        name: Name of the concept.
        embeds: The vectors.

    Raises:
        SpecError: the concept's files have mistakes.
        ConceptryError: the vectors do not match concept.yaml, or the text encoder could not be written.
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    concept, spec = _concept(top, name)
    _check_fit(name, spec, embeds.rows)
    check_width(embeds.rows.shape[1], training.preset_of(spec), presets(top), installation.base_dir)
    base = training.base_of(spec)
    fingerprint = training_fingerprint(spec, concept.images or (), base)
    session = hub.HubSession(installation.hub)
    known = hub.find_version(session, name, fingerprint)
    if known is not None:
        return Imported(known, existed=True)
    source = {"source": embeds.file.name, "sha256": embeds.sha256}
    with TemporaryDirectory(prefix="conceptry-import-") as folder:
        trained = Path(folder) / "trained"
        _write_trained(trained, spec, embeds.rows, base_dir=installation.base_dir, source=source)
        judged = f"imported from {source['source']}; it was not judged here"
        bundle = hub.assemble(
            trained,
            Path(folder) / "bundle",
            name=name,
            spec=spec,
            base=base,
            lineage=hub.Lineage(
                fingerprint=fingerprint,
                inputs=fingerprint,
                commit=commit_of(top) or "0" * 40,
                dvc_md5=concept.dvc_md5 or "",
                images=concept.images or (),
                imported=source,
            ),
            gate=GateResult((GateFinding(GateReason.IMPORTED, "passed", judged),)),
            repo=session.target.repo(name),
        )
        version = hub.publish(session, name, bundle, private=spec.space.private)
    hub.update_main(session, name, keep=True)
    return Imported(version, existed=False)


def _concept(top: Path, name: str) -> tuple[DesiredConcept, ConceptSpec]:
    concepts = dvc.list_cached(read_checkout(top).concepts, *dvc.cache_folders(dvc_root(top) or top))
    concept = concepts.get(name)
    if concept is None:
        raise ConceptryError(
            "is not in this working tree", concept=name, next_step="check the concept's name: `ls concepts/`"
        )
    if concept.error is not None or concept.spec is None:
        raise concept.error or ConceptryError("has no concept.yaml", concept=name)
    if concept.images is None:
        what = "the list of its images is not in this clone's DVC cache"
        raise ConceptryError(what, concept=name, next_step=f"run `dvc pull concepts/{name}/images.dvc`")
    return concept, concept.spec


def _check_fit(name: str, spec: ConceptSpec, rows: npt.NDArray[np.float32]) -> None:
    if spec.num_vectors != len(rows):
        what = f"the file holds {len(rows)} vectors, concept.yaml says num_vectors: {spec.num_vectors}"
        raise ConceptryError(what, concept=name, next_step=f"write num_vectors: {len(rows)}")


def _write_trained(
    folder: Path, spec: ConceptSpec, rows: npt.NDArray[np.float32], *, base_dir: Path | None, source: dict[str, str]
) -> None:
    """Write the files of a trainer's output that can be made from vectors alone."""
    (folder / "samples").mkdir(parents=True)
    save_file({spec.placeholder_token: rows}, folder / EMBEDS, metadata={"format": "pt"})
    write_imported_metrics(folder, spec.base_model, **source)
    arguments = ["--base-model", reference(training.preset_of(spec)), "--embeds", str(folder / EMBEDS)]
    arguments += ["--output", str(folder / "text_encoder"), *(["--base", str(base_dir)] if base_dir else [])]
    environment = child_environment(TF_CPP_MIN_LOG_LEVEL="3")
    try:
        done = run_to_end(python_module("trainer.export", *arguments), timeout=_EXPORT_TIMEOUT, environment=environment)
    except TimeoutError as error:
        raise TransientError(f"the text encoder was not written within {_EXPORT_TIMEOUT:.0f} s") from error
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise ConceptryError(
            f"the text encoder could not be written: {last}",
            next_step=f"the vectors must fit {spec.base_model}, and its weights must be there (CONCEPTRY_BASE_DIR)",
        )
