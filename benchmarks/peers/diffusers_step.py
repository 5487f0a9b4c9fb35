"""One step of diffusers' textual_inversion.py, on random weights:

    python -m benchmarks.peers.diffusers_step 256x1 float32 4

It runs in an environment with torch, diffusers and transformers, and prints one JSON line. As that script does by
default: the VAE encodes in every step, AdamW with weight decay has the whole table, the other rows are put back.
"""

from __future__ import annotations

import json
import sys

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.peers.stopwatch import measure

size, kind, steps = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3])
side, batch = map(int, size.split("x"))
torch.manual_seed(0)

unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).to(kind)
channels = (128, 256, 512, 512)
vae = AutoencoderKL(
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    block_out_channels=channels,
    layers_per_block=2,
    latent_channels=4,
    sample_size=512,
).to(kind)
config = CLIPTextConfig(vocab_size=49409, hidden_size=768, intermediate_size=3072, num_hidden_layers=12)
config.num_attention_heads = 12
encoder = CLIPTextModel(config)
for module in (unet, vae, encoder):
    module.requires_grad_(False)
table = encoder.get_input_embeddings().weight
table.requires_grad_(True)
encoder.train()
optimizer = torch.optim.AdamW([table], lr=5e-4, weight_decay=1e-2)
scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
original = table.detach().clone()
keep = torch.ones(len(table), dtype=torch.bool)
keep[-1] = False
pixels = torch.rand(batch, 3, side, side) * 2 - 1
tokens = torch.full((batch, 77), 49407)
tokens[:, :6] = torch.tensor([49406, 320, 1125, 539, 49408, 49407])


def step() -> None:
    """What the script's loop does for one batch."""
    latents = vae.encode(pixels.to(kind)).latent_dist.sample().detach() * 0.18215
    noise = torch.randn_like(latents)
    times = torch.randint(0, 1000, (batch,))
    noisy = scheduler.add_noise(latents, noise, times)
    hidden = encoder(tokens)[0].to(kind)
    predicted = unet(noisy, times, hidden).sample
    loss = torch.nn.functional.mse_loss(predicted.float(), noise.float())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        table[keep] = original[keep]


versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__}
print(json.dumps({**measure(step, steps), "versions": versions}))
