"""Do transformers' CLIPTextModel and diffusers understand what we learn? `python load_embeds.py FOLDER`.

It runs in an environment with torch, diffusers and transformers. FOLDER is what `python -m benchmarks.interchange`
wrote: the weights of our text encoder, tokens, vectors and our context, and learned_embeds.safetensors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import diffusers
import numpy as np
import torch
import transformers
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

folder = Path(sys.argv[1])
stored = np.load(folder / "encoder.npz")
weights = [torch.tensor(stored[name]) for name in sorted(name for name in stored.files if name.startswith("w"))]
vocabulary, width = weights[0].shape
length = weights[1].shape[0]
depth, heads = (len(weights) - 4) // 16, int(stored["heads"])

config = CLIPTextConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=4 * width, hidden_act="quick_gelu")
config.num_hidden_layers, config.num_attention_heads, config.max_position_embeddings = depth, heads, length
model = CLIPTextModel(config).eval()
names = {"token_embedding.weight": weights[0], "position_embedding.weight": weights[1]}
state = {f"embeddings.{name}": value for name, value in names.items()}
rest = iter(weights[2:])
order = ("layer_norm1", *(f"self_attn.{name}_proj" for name in "qkv"), "self_attn.out_proj", "layer_norm2", "mlp.fc1")
for layer in range(depth):
    for part in (*order, "mlp.fc2"):
        weight = next(rest)
        state[f"encoder.layers.{layer}.{part}.weight"] = weight.T if weight.dim() == 2 else weight
        state[f"encoder.layers.{layer}.{part}.bias"] = next(rest)
state["final_layer_norm.weight"], state["final_layer_norm.bias"] = next(rest), next(rest)
prefix = next(iter(model.state_dict())).split("embeddings.")[0]
missing, unexpected = model.load_state_dict({prefix + name: value for name, value in state.items()}, strict=False)
assert not unexpected, unexpected
assert not [name for name in missing if "position_ids" not in name], missing

# A tokenizer of letters is all that the loader needs to add tokens to.
words = {chr(33 + i): i for i in range(94)} | {f"{chr(33 + i)}</w>": 94 + i for i in range(94)}
words |= {f"word{i}": i for i in range(len(words), vocabulary - 2)}
words |= {"<|startoftext|>": vocabulary - 2, "<|endoftext|>": vocabulary - 1}
(folder / "vocab.json").write_text(json.dumps(words))
(folder / "merges.txt").write_text("#version: 0.2\n")
tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


class Pipeline(TextualInversionLoaderMixin):  # type: ignore[misc,unused-ignore]
    """The part of a Stable Diffusion pipeline that `load_textual_inversion` looks at."""

    def __init__(self) -> None:
        self.tokenizer, self.text_encoder = tokenizer, model
        self.hf_device_map, self.components = None, {"text_encoder": model}
        self.config = SimpleNamespace()


pipeline = Pipeline()
pipeline.load_textual_inversion(str(folder / "learned_embeds.safetensors"))
added = tokenizer.convert_tokens_to_ids(["<x>", "<x>_1"])
tokens = torch.tensor(stored["tokens"]).long()
first = vocabulary
mapped = torch.where(tokens >= first, torch.tensor(added)[torch.clamp(tokens - first, 0, 1)], tokens)
with torch.no_grad():
    theirs = model(mapped)[0].numpy()
print(
    json.dumps(
        {
            "largest_difference": float(np.abs(theirs - stored["context"]).max()),
            "ids_added": added,
            "prompt": pipeline.maybe_convert_prompt("a photo of <x>", tokenizer),
            "versions": {"diffusers": diffusers.__version__, "transformers": transformers.__version__},
        }
    )
)
