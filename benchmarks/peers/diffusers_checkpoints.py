"""Stable Diffusion checkpoints of random weights as diffusers saves them, and what diffusers computes from them.

    python diffusers_checkpoints.py FOLDER REQUEST

run by benchmarks.checkpoints in an environment of its own. REQUEST is a JSON file that says the kind ("sd1", "sd2"),
the number format, the sizes, and the names of the original layout, which diffusers' own converters check. It writes
FOLDER/diffusers (a pipeline's folder), FOLDER/single.safetensors (the original layout), FOLDER/reference.safetensors
(inputs, and what the models make of them in float32) and FOLDER/shapes.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers.loaders import single_file_utils as utils
from random_weights import values  # type: ignore[import-not-found]
from safetensors.torch import save_file

Request = dict[str, Any]


def fill(model: torch.nn.Module, numbers: torch.dtype) -> None:
    """Set a model's weights, rounded to the number format that they will be saved in."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.from_numpy(values(name.removeprefix("text_model."), tuple(tensor.shape)))
                tensor.copy_(drawn.to(numbers).float())


def build(told: Request) -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    """Build text encoder, UNet and VAE, with whatever weights."""
    width, layers = told["width"], told["layers"]
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=told["vocabulary"], hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
            num_attention_heads=width // 64, hidden_act="quick_gelu" if told["kind"] == "sd1" else "gelu",
            bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=tuple(told["widths"]), layers_per_block=2, cross_attention_dim=width,
        attention_head_dim=told["heads"], down_block_types=down, up_block_types=up,
        use_linear_projection=told["kind"] == "sd2",
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=tuple(told["vae"]), layers_per_block=2, latent_channels=4, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    return text.eval(), unet.eval(), vae.eval()


def original(kind: str, state: dict[str, dict[str, torch.Tensor]], table: Request) -> dict[str, torch.Tensor]:
    """Put the tensors under the names of the original program, with what else published files hold.

    `table` maps, by folder, a name to the names of diffusers whose tensors it joins.
    """
    found = {}
    for folder, names in table.items():
        for name, theirs in names.items():
            found[name] = (
                torch.cat([state[folder][one] for one in theirs]) if len(theirs) > 1 else state[folder][theirs[0]]
            )
    if kind == "sd2":
        # OpenCLIP's encoder has a layer more than is used.
        last = max(int(name.split("resblocks.")[1].split(".")[0]) for name in found if "resblocks." in name)
        unused = {name: tensor for name, tensor in found.items() if f"resblocks.{last}." in name}
        found |= {
            name.replace(f".{last}.", f".{last + 1}."): torch.ones_like(tensor) for name, tensor in unused.items()
        }
    weights = found["model.diffusion_model.out.2.weight"]
    return found | {
        "model_ema.decay": torch.tensor(0.9),
        "model_ema.diffusion_modelout2weight": torch.ones_like(weights),
    }


def check_original(kind: str, single: dict[str, torch.Tensor], models: tuple[torch.nn.Module, ...]) -> None:
    """Compare what diffusers' own converters make of the single file with the models that it was written from."""
    text, unet, vae = models
    if kind == "sd1":
        of_text = utils.convert_ldm_clip_checkpoint(dict(single))
    else:
        of_text = utils.convert_open_clip_checkpoint(text, dict(single), prefix="cond_stage_model.model.")
    converted = (
        (text, of_text),
        (unet, utils.convert_ldm_unet_checkpoint(dict(single), dict(unet.config))),
        (vae, utils.convert_ldm_vae_checkpoint(dict(single), dict(vae.config))),
    )
    for model, found in converted:
        for name, tensor in model.state_dict().items():
            name = name if name in found else f"text_model.{name}"
            if tensor.is_floating_point():
                assert torch.equal(found[name].reshape(tensor.shape), tensor), f"{name} of {type(model).__name__}"


def main() -> None:
    """Write all files."""
    folder, told = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    kind, numbers = told["kind"], getattr(torch, told["numbers"])
    text, unet, vae = build(told)
    for model in (text, unet, vae):
        fill(model, numbers)
    pipeline = folder / "diffusers"
    for name, model in (("text_encoder", text), ("unet", unet), ("vae", vae)):
        model.to(numbers).save_pretrained(pipeline / name)
        model.float()
    prediction = "epsilon" if kind == "sd1" else "v_prediction"
    diffusers.DDIMScheduler(prediction_type=prediction).save_pretrained(pipeline / "scheduler")
    (pipeline / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    # transformers 5 has the names of the file, but without their first part.
    of_text = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in text.state_dict().items()}
    state = {"text_encoder": of_text, "unet": unet.state_dict(), "vae": vae.state_dict()}
    single = original(kind, state, told["names"])
    check_original(kind, single, (text, unet, vae))
    single = {name: tensor.to(numbers).contiguous() for name, tensor in single.items()}
    save_file(single, folder / "single.safetensors")
    save_file(reference(text, unet, vae, told["side"]), folder / "reference.safetensors")
    shapes = {
        name: {key: list(tensor.shape) for key, tensor in tensors.items() if tensor.is_floating_point()}
        for name, tensors in state.items()
    }
    (folder / "shapes.json").write_text(json.dumps(shapes))


def reference(text: torch.nn.Module, unet: torch.nn.Module, vae: torch.nn.Module, side: int) -> dict[str, torch.Tensor]:
    """Compute inputs, outputs, and the gradient of the table's last two rows; pictures are (B, H, W, C)."""
    rng = np.random.default_rng(0)
    vocabulary = text.config.vocab_size
    tokens = torch.from_numpy(rng.integers(2, vocabulary - 2, (2, 77)))
    tokens[:, 0] = 0
    tokens[0, 5], tokens[0, 6] = vocabulary - 2, vocabulary - 1
    latent = torch.from_numpy(rng.standard_normal((2, 4, side // 8, side // 8), "float32"))
    times = torch.tensor([3, 700])
    picture = torch.from_numpy(rng.uniform(-1, 1, (1, 3, side // 2, side // 2)).astype("float32"))
    table = text.get_input_embeddings().weight
    table.requires_grad_(True)
    context = text(tokens).last_hidden_state
    predicted = unet(latent, times, encoder_hidden_states=context).sample
    loss = predicted.square().mean()
    (gradient,) = torch.autograd.grad(loss, table)
    with torch.no_grad():
        moments = vae.quant_conv(vae.encoder(picture))
        decoded = vae.decode(latent[:1, :, : side // 16, : side // 16] / 0.18215).sample
    last = {
        "latent": latent, "picture": picture, "predicted": predicted, "moments": moments, "decoded": decoded,
    }  # fmt: skip
    return {
        "tokens": tokens, "times": times, "context": context.detach(), "gradient": gradient[-2:].contiguous(),
        **{name: tensor.detach().permute(0, 2, 3, 1).contiguous() for name, tensor in last.items()},
    }  # fmt: skip


if __name__ == "__main__":
    main()
