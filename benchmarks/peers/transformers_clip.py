"""A CLIP model as transformers saves it, and its features of pictures and texts.

    python transformers_clip.py FOLDER SIZES

It runs in an environment with torch and transformers. A FOLDER without a model gets one of random weights, of SIZES
"tiny" (it reads the tokens of our own tiny model; stored in float16, 90 kB) or "large" (openai/clip-vit-large-patch14,
1.7 GB). Beside it, expected.npz holds pictures and token ids, and what CLIPImageProcessor and CLIPModel make of them.

The tests' own, which is only made again when it shall hold something else:

    python benchmarks/peers/transformers_clip.py tests/trainer/clip tiny
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

SIZES = {
    "tiny": {
        "text_config": {
            "vocab_size": 789,
            "max_position_embeddings": 24,
            "hidden_size": 16,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "bos_token_id": 787,
            "eos_token_id": 788,
        },
        "vision_config": {
            "hidden_size": 24,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "image_size": 32,
            "patch_size": 8,
        },
        "projection_dim": 12,
    },
    "large": {
        "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        "projection_dim": 768,
    },
}
# Wide, high, and smaller than what a tower sees.
PICTURES = ((41, 30), (30, 53), (20, 20), (97, 64))


def make(sizes: str) -> CLIPModel:
    """Random weights that let through what goes in: transformers' own would make all pictures nearly the same."""
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(**SIZES[sizes]))
    for name, weight in model.named_parameters():
        if "embedding" in name or weight.dim() == 1:
            torch.nn.init.normal_(weight.data, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2)
        elif weight.dim() == 2:
            torch.nn.init.normal_(weight.data, 0.0, weight.shape[1] ** -0.5)
    return model.half().float() if sizes == "tiny" else model


def draw(count: int, rng: np.random.Generator) -> list[Image.Image]:
    """Smooth coloured noise."""
    sizes = [PICTURES[index % len(PICTURES)] for index in range(count)]
    rough = [Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)) for _ in sizes]
    return [picture.resize(size, Image.Resampling.BICUBIC) for picture, size in zip(rough, sizes, strict=True)]


def main() -> None:
    """Make the model if there is none, and write what it says."""
    folder, sizes = Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.safetensors").is_file():
        model = make(sizes)
        (model.half() if sizes == "tiny" else model).save_pretrained(folder)
        del model
    begun = time.monotonic()
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    rng = np.random.default_rng(0)
    text, vision = model.config.text_config, model.config.vision_config
    side = {"height": vision.image_size, "width": vision.image_size}
    processor = CLIPImageProcessorPil(size={"shortest_edge": vision.image_size}, crop_size=side)
    pictures = draw(4 if sizes == "tiny" else 12, rng)
    prepared = processor(pictures, return_tensors="pt")["pixel_values"]
    end = text.vocab_size - 1
    tokens = np.full((3, text.max_position_embeddings), end, "int64")
    for row, length in zip(tokens, (0, 3, text.max_position_embeddings - 2), strict=True):
        row[: length + 1] = [end - 1, *rng.integers(0, end - 1, length)]
    with torch.no_grad():
        of_pictures = model.visual_projection(model.vision_model(prepared).pooler_output)
        of_texts = model.text_projection(model.text_model(torch.tensor(tokens)).pooler_output)
        images, texts = (vectors / vectors.norm(dim=-1, keepdim=True) for vectors in (of_pictures, of_texts))
        # The model's own word for the cosine, without its temperature.
        both = model(input_ids=torch.tensor(tokens), pixel_values=prepared).logits_per_image / model.logit_scale.exp()
    np.savez_compressed(
        folder / "expected.npz",
        allow_pickle=False,
        **{f"picture{index}": np.asarray(picture) for index, picture in enumerate(pictures)},
        prepared=prepared.permute(0, 2, 3, 1).numpy()[:4],
        tokens=tokens.astype("int32"),
        images=images.numpy(),
        texts=texts.numpy(),
        cosines=both.numpy(),
        seconds=time.monotonic() - begun,
        peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    )


if __name__ == "__main__":
    main()
