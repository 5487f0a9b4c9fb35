"""Bundles for the tests of the Hub: small, but made by the production code from a trainer's output folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from conceptry.concept import BaseModel, ConceptSpec, ImageRef
from conceptry.gate import GateFinding, GateResult
from conceptry.reasons import GateReason
from tasks.hub import Lineage, assemble

BASE = BaseModel("sd-v1-4", "d" * 64, 1, 512)


def make_trained(folder: Path, *, token: str = "<x>", loss: float = 0.05, seed: int = 0) -> Path:
    """Lay down what the trainer leaves, with little in it."""
    (folder / "text_encoder" / "variables").mkdir(parents=True)
    (folder / "text_encoder" / "saved_model.pb").write_bytes(b"\x08\x01graph")
    (folder / "text_encoder" / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(range(256)) * 20)
    (folder / "samples").mkdir()
    for name in ("0", "grid", "initializer"):
        Image.new("RGB", (8, 8), (seed % 256, 40, 90)).save(folder / "samples" / f"{name}.png")
    save_file({token: np.full((1, 768), seed, "float32")}, folder / "learned_embeds.safetensors")
    metrics = {
        "recipe": 1, "base_model": "sd-v1-4", "steps": 300, "stopped": "early", "device": "CPU",
        "loss": {"initializer": 0.1, "trained": loss, "improvement": 1 - loss / 0.1},
        "images": {"train": 4, "held_out": 1}, "seconds": {"total": 12.5},
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


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
    passed: bool = True,
) -> Path:
    seed = int(fingerprint[:2], 16)
    trained = make_trained(folder.with_name(folder.name + "-trained"), loss=loss, seed=seed)
    lineage = Lineage(
        fingerprint=fingerprint,
        inputs=fingerprint,
        commit="e" * 40,
        dvc_md5="f" * 32 + ".dir",
        images=(ImageRef("a.jpg", "0" * 32), ImageRef("b.jpg", "1" * 32)),
        prefect_run="run-1",
        created="2026-11-22T10:00:00+00:00",
    )
    gate = GateResult(passed, (GateFinding(GateReason.IMPROVED, "held-out loss 0.1 -> 0.05"),))
    return assemble(
        trained, folder, name=name, spec=spec or make_spec(), base=BASE, lineage=lineage, gate=gate,
        repo=f"local/{name}",
    )  # fmt: skip
