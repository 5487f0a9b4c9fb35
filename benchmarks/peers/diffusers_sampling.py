"""diffusers at Stable Diffusion 1.x's shape, random weights; run by benchmarks.sampling in an environment of its own.

    python diffusers_sampling.py SIDE STEPS DTYPE WHOLE

Prints one JSON object: the seconds of a guided step, and with WHOLE=1 those of a whole picture (the second one drawn).
"""

import json
import statistics
import sys
import time

import diffusers
import torch
import transformers

side, steps, whole = int(sys.argv[1]), int(sys.argv[2]), sys.argv[4] == "1"
dtype = getattr(torch, sys.argv[3])
torch.set_grad_enabled(False)
torch.manual_seed(0)
text_config = transformers.CLIPTextConfig(
    vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
)
text_encoder = transformers.CLIPTextModel(text_config).to(dtype).eval()
unet = diffusers.UNet2DConditionModel(sample_size=side // 8, cross_attention_dim=768).to(dtype).eval()
vae = diffusers.AutoencoderKL(
    block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, sample_size=side,
).to(dtype).eval()  # fmt: skip
scheduler = diffusers.DPMSolverMultistepScheduler(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", algorithm_type="dpmsolver++"
)
tokens = torch.full((2, 77), 49407)


def draw(count: int) -> tuple[float, list[tuple[float, float]]]:
    """One picture of `count` steps as StableDiffusionPipeline draws it; seconds in all, and of each step (the clock's,
    the processor's).
    """
    began = time.perf_counter()
    context = text_encoder(tokens)[0]
    scheduler.set_timesteps(count)
    latents = torch.randn((1, 4, side // 8, side // 8), dtype=dtype)
    seconds = []
    for timestep in scheduler.timesteps:
        start, processor = time.perf_counter(), time.process_time()
        both = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
        nothing, wanted = unet(both, timestep, encoder_hidden_states=context).sample.chunk(2)
        latents = scheduler.step(nothing + 7.5 * (wanted - nothing), timestep, latents).prev_sample
        seconds.append((time.perf_counter() - start, time.process_time() - processor))
    vae.decode(latents / 0.18215).sample.float().numpy()
    return time.perf_counter() - began, seconds


warm, first = draw(2)
total, each = draw(steps) if whole else (None, first[1:])
print(
    json.dumps(
        {
            "seconds": total,
            "step": statistics.median(clock for clock, _ in each),
            "cpu": statistics.median(processor for _, processor in each),
            "steps_timed": len(each),
            "dtype": sys.argv[3],
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        }
    )
)
