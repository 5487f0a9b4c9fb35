"""Latents after every step of diffusers' schedulers.

    python diffusers_schedulers.py REQUEST DRAWN KIND=UNET...

run by benchmarks.schedulers in an environment of its own. REQUEST is a JSON file that lists the drawings: solver,
steps, prediction, guidance scale (1 for none) and model, "formula" or the KIND of a UNet's folder. DRAWN becomes a
.safetensors file with the latents (steps, B, h, w, 4) of each, by its place in the list.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import save_file

# As in scheduler/scheduler_config.json of Stable Diffusion 1.x and 2.x, for PNDM and DDIM.
PUBLISHED = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False, "skip_prk_steps": True, "trained_betas": None,
}  # fmt: skip
Model = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def scheduler_of(solver: str, prediction: str) -> Any:
    """Make a scheduler of published settings, as a pipeline changes its scheduler."""
    told = PUBLISHED | {"prediction_type": "v_prediction" if prediction == "v" else "epsilon"}
    if solver == "ddim":
        return DDIMScheduler.from_config(told)
    return DPMSolverMultistepScheduler.from_config(told, use_karras_sigmas=solver == "dpm++karras")


def formula(x: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Compute what benchmarks.schedulers.Formula does."""
    embedded = get_timestep_embedding(timestep[None], 8, flip_sin_to_cos=True, downscale_freq_shift=0)
    slow, slower = embedded[0, 2], embedded[0, 3]
    return 0.8 * torch.tanh(x + 0.5 * slow) + 0.05 * context * torch.cos(0.5 * x + slower)


def model_of(unet: Path) -> Model:
    """Load a UNet."""
    loaded = UNet2DConditionModel.from_pretrained(unet).eval()
    return lambda x, timestep, context: loaded(x, timestep, encoder_hidden_states=context).sample


def draw(model: Model, latents: torch.Tensor, contexts: torch.Tensor, told: dict[str, Any]) -> torch.Tensor:
    """Draw as StableDiffusionPipeline does."""
    scheduler, scale = scheduler_of(told["solver"], told["prediction"]), told["scale"]
    scheduler.set_timesteps(told["steps"])
    latents, after = latents * scheduler.init_noise_sigma, []
    contexts = contexts.repeat_interleave(len(latents), dim=0)
    for timestep in scheduler.timesteps:
        if scale == 1:
            predicted = model(latents, timestep, contexts[len(latents) :])
        else:
            without, wanted = model(torch.cat([latents] * 2), timestep, contexts).chunk(2)
            predicted = without + scale * (wanted - without)
        latents = scheduler.step(predicted, timestep, latents).prev_sample
        after.append(latents.permute(0, 2, 3, 1))
    return torch.stack(after)


def main() -> None:
    """Draw everything."""
    torch.set_grad_enabled(False)
    told = json.loads(Path(sys.argv[1]).read_text())
    unets = dict(one.split("=", 1) for one in sys.argv[3:])
    models: dict[str, Model] = {"formula": formula} | {kind: model_of(Path(unet)) for kind, unet in unets.items()}
    drawn = {}
    for place, one in enumerate(told["drawings"]):
        latents, contexts = (
            torch.from_numpy(np.random.default_rng(0).standard_normal(told["shapes"][one["model"]][part], "float32"))
            for part in ("latents", "contexts")
        )
        drawn[str(place)] = draw(models[one["model"]], latents.permute(0, 3, 1, 2), contexts, one).contiguous()
    save_file(drawn, sys.argv[2])


if __name__ == "__main__":
    main()
