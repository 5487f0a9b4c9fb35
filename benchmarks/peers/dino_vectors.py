"""Class tokens of DINO's ViT-S/16 (Caron et al. 2021), by which DreamBench compares pictures.

    python dino_vectors.py MODEL < PATHS > vectors.json

It runs in an environment with torch and transformers. MODEL is a folder such as facebook/dino-vits16 has; without a
config.json in it the weights are random, which only shows that everything runs. PATHS are picture files, one a line;
vectors.json holds for each the class token's output of the last layer, 384 numbers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ViTConfig, ViTModel

SIDE, RESIZED = 224, 256
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def prepare(path: str) -> torch.Tensor:
    """Resize the shorter side to 256 pixels, cut out the middle 224 and normalise, as DINO's evaluation does."""
    image = Image.open(path).convert("RGB")
    scale = RESIZED / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = ((extent - SIDE) // 2 for extent in image.size)
    pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float64) / 255.0
    return torch.tensor(((pixels - MEAN) / DEVIATION).transpose(2, 0, 1), dtype=torch.float32)


def load(folder: Path) -> ViTModel:
    """Load the model, or make one of random weights where there is none."""
    if (folder / "config.json").is_file():
        return ViTModel.from_pretrained(folder, add_pooling_layer=False)
    torch.manual_seed(0)
    sizes = ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)
    return ViTModel(sizes, add_pooling_layer=False)


def main() -> None:
    """Read paths from stdin and print their vectors."""
    model = load(Path(sys.argv[1])).eval()
    vectors = {}
    with torch.no_grad():
        for path in sys.stdin.read().split("\n"):
            if path:
                vectors[path] = model(prepare(path)[None]).last_hidden_state[0, 0].tolist()
    json.dump(vectors, sys.stdout)


if __name__ == "__main__":
    main()
