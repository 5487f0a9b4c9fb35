"""What a trainer leaves, with little in it, for tests of everything that comes after a training."""

from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from tests.support.losses import make_losses
from trainer.metrics import METRICS_FILE, TrainingMetrics, write_metrics

WIDTHS = {"tiny": 96, "sd-v1-4": 768}
"""Width of a base model's vectors."""


def make_trained(
    folder: Path,
    *,
    token: str = "<x>",
    loss: float = 0.05,
    released: float | None = None,
    base_model: str = "tiny",
    seed: int = 0,
) -> Path:
    """Write the files of a training's output folder.

    Args:
        folder: Where to; it is made.
        token: The placeholder token.
        loss: Held-out loss with the token; with the initializer it is 0.1.
        released: Held-out loss of the released version; None if there is none to beat.
        base_model: Preset that was trained on.
        seed: Another one gives another picture and other vectors.
    """
    variables = folder / "text_encoder" / "variables"
    variables.mkdir(parents=True)
    (folder / "text_encoder" / "saved_model.pb").write_bytes(b"\x08\x01graph")
    (variables / "variables.data-00000-of-00001").write_bytes(bytes(range(256)) * 20)
    (folder / "samples").mkdir()
    for name in ("0", "grid", "initializer"):
        Image.new("RGB", (8, 8), (seed % 256, 40, 90)).save(folder / "samples" / f"{name}.png")
    vectors = np.full((1, WIDTHS[base_model]), seed or loss, "float32")
    save_file({token: vectors}, folder / "learned_embeds.safetensors")
    metrics = {
        "recipe": 1,
        "base_model": base_model,
        "steps": 10,
        "stopped": "max_steps",
        "device": "CPU",
        "loss": make_losses(loss, released=released),
        "images": {"train": 3, "held_out": 1},
        "seconds": {"train": 1.0, "total": 2.5},
    }
    write_metrics(folder / METRICS_FILE, TrainingMetrics.model_validate(metrics))
    return folder
