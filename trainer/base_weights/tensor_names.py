"""Names of Stable Diffusion's tensors in other programs' files, in the order in which our parts read them.

Two layouts: "diffusers", a folder with a file for each part, and "original", one file for all (CompVis, A1111, ComfyUI,
Civitai), in which Stable Diffusion 2 has OpenCLIP's names for the text encoder. Each name comes with how its array
becomes ours: torch keeps a dense layer as (O, I) and a convolution as (O, I, H, W), we keep (I, O) and (H, W, I, O).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.models.shapes import Plan, TextEncoderShape, UNetShape

Array = npt.NDArray[Any]
DIFFUSERS, ORIGINAL = "diffusers", "original"
UNET, VAE, OPEN_CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
CLIP = "cond_stage_model.transformer.text_model."
"""Where the parts begin in the original layout."""


class Name(NamedTuple):
    """A tensor's name, its other names in older files, and what makes our array of it.

    With `third` it is the first (0), second or last third of a tensor that holds queries, keys and values.
    """

    text: str
    older: tuple[str, ...]
    ours: Callable[[Array], Array]
    third: int | None = None

    def among(self, names: Container[str]) -> str | None:
        """Return which of its names a file has; None if it has none."""
        return next((one for one in (self.text, *self.older) if one in names), None)

    def piece(self, tensor: Array) -> Array:
        """Return what is meant of the tensor with this name, as the file keeps it."""
        return tensor if self.third is None else np.split(tensor, 3)[self.third]


Names = Iterator[Name]


def unet(shape: UNetShape, layout: str) -> Names:
    """Name the UNet's tensors (686 of Stable Diffusion 1)."""
    at = _at(layout, "", UNET)
    yield from _dense(at("time_embedding.linear_1", "time_embed.0"))
    for block in _unet_blocks(shape):
        if block.kind == "res":
            yield from _unet_res(block, layout)
        elif block.kind == "attend":
            yield from _transformer(block.name(layout))
        else:
            yield from _conv(block.name(layout))
        if block.kind == "conv":
            yield from _dense(at("time_embedding.linear_2", "time_embed.2"))
    yield from _norm(at("conv_norm_out", "out.0"))
    yield from _conv(at("conv_out", "out.2"))


def image_encoder(plan: Plan, layout: str) -> Names:
    """Name the tensors of the VAE's encoder."""
    at = _at(layout, "", VAE)
    yield from _vae("encoder", plan, layout)
    yield from _norm(at("encoder.conv_norm_out", "encoder.norm_out"))
    yield from _conv(at("encoder.conv_out", "encoder.conv_out"))
    yield from _conv(at("quant_conv", "quant_conv"))


def decoder(plan: Plan, layout: str) -> Names:
    """Name the tensors of the VAE's decoder."""
    at = _at(layout, "", VAE)
    yield from _conv(at("post_quant_conv", "post_quant_conv"))
    yield from _vae("decoder", plan, layout)
    yield from _norm(at("decoder.conv_norm_out", "decoder.norm_out"))
    yield from _conv(at("decoder.conv_out", "decoder.conv_out"))


def text_encoder(shape: TextEncoderShape, layout: str, *, open_clip: bool = False) -> Names:
    """Name the text encoder's tensors (196 of Stable Diffusion 1); `open_clip` where they have OpenCLIP's names."""
    if open_clip:
        yield from _open_clip(shape)
        return
    # transformers 5 leaves out the first part.
    starts = ("text_model.", "") if layout == DIFFUSERS else (CLIP,)
    for name in _clip(shape):
        yield Name(starts[0] + name.text, tuple(start + name.text for start in starts[1:]), name.ours)


def _clip(shape: TextEncoderShape) -> Names:
    yield _name("embeddings.token_embedding.weight", _as_it_is)
    yield _name("embeddings.position_embedding.weight", _as_it_is)
    for block in (f"encoder.layers.{index}" for index in range(shape.layers)):
        yield from _norm(f"{block}.layer_norm1")
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _dense(f"{block}.self_attn.{part}")
        yield from _norm(f"{block}.layer_norm2")
        yield from _dense(f"{block}.mlp.fc1")
        yield from _dense(f"{block}.mlp.fc2")
    yield from _norm("final_layer_norm")


def _open_clip(shape: TextEncoderShape) -> Names:
    yield _name(f"{OPEN_CLIP}token_embedding.weight", _as_it_is)
    yield _name(f"{OPEN_CLIP}positional_embedding", _as_it_is)
    for block in (f"{OPEN_CLIP}transformer.resblocks.{index}" for index in range(shape.layers)):
        yield from _norm(f"{block}.ln_1")
        for index in range(3):
            yield Name(f"{block}.attn.in_proj_weight", (), _transposed, index)
            yield Name(f"{block}.attn.in_proj_bias", (), _as_it_is, index)
        yield from _dense(f"{block}.attn.out_proj")
        yield from _norm(f"{block}.ln_2")
        yield from _dense(f"{block}.mlp.c_fc")
        yield from _dense(f"{block}.mlp.c_proj")
    yield from _norm(f"{OPEN_CLIP}ln_final")


class _Block(NamedTuple):
    """A block of the UNet: its kind, whether its residual has a kernel, and its names in both layouts."""

    kind: str
    narrows: bool
    diffusers: str
    original: str

    def name(self, layout: str) -> str:
        return self.diffusers if layout == DIFFUSERS else UNET + self.original


def _unet_blocks(shape: UNetShape) -> Iterator[_Block]:
    """Walk through the plan of a Stable Diffusion UNet.

    The original numbers what is between two joins of the skips, diffusers counts by resolution.
    """
    width, saved = 4, []
    side, level, number, counts = "down", 0, 0, {"res": 0, "attend": 0}
    inside = 0
    for kind, wanted in shape.plan:
        if kind == "save":
            saved.append(width)
            number, inside = number + 1, 0
            continue
        if kind == "join":
            if side != "up":
                side, level, number, counts = "up", 0, -1, {"res": 0, "attend": 0}
            width += saved.pop()
            number, inside = number + 1, 0
            continue
        if side == "down" and not inside and kind == "res" and len(saved) == _skips(shape):
            side, counts = "mid", {"res": 0, "attend": 0}
        names = _unet_names(kind, side, level, number, inside, counts)
        yield _Block(kind, kind == "res" and width != wanted, *names)
        width, inside = wanted, inside + 1
        if kind in counts:
            counts[kind] += 1
        else:
            level, counts = level + (kind in ("down", "up")), {"res": 0, "attend": 0}


def _skips(shape: UNetShape) -> int:
    return sum(kind == "save" for kind, _ in shape.plan)


def _unet_names(kind: str, side: str, level: int, number: int, inside: int, counts: dict[str, int]) -> tuple[str, str]:
    where = "mid_block" if side == "mid" else f"{side}_blocks.{level}"
    place = {"down": f"input_blocks.{number}", "mid": "middle_block", "up": f"output_blocks.{number}"}[side]
    if kind == "conv":
        return "conv_in", f"{place}.0"
    if kind in counts:
        group = {"res": "resnets", "attend": "attentions"}[kind]
        return f"{where}.{group}.{counts[kind]}", f"{place}.{inside}"
    sampler, ending = ("downsamplers", "op") if kind == "down" else ("upsamplers", "conv")
    return f"{where}.{sampler}.0.conv", f"{place}.{inside}.{ending}"


def _unet_res(block: _Block, layout: str) -> Names:
    at, name = block.name(layout), layout == DIFFUSERS
    yield from _norm(f"{at}.norm1" if name else f"{at}.in_layers.0")
    yield from _conv(f"{at}.conv1" if name else f"{at}.in_layers.2")
    yield from _dense(f"{at}.time_emb_proj" if name else f"{at}.emb_layers.1")
    yield from _norm(f"{at}.norm2" if name else f"{at}.out_layers.0")
    yield from _conv(f"{at}.conv2" if name else f"{at}.out_layers.3")
    if block.narrows:
        yield from _conv(f"{at}.conv_shortcut" if name else f"{at}.skip_connection")


def _transformer(at: str) -> Names:
    block = f"{at}.transformer_blocks.0"
    yield from _norm(f"{at}.norm")
    yield from _conv(f"{at}.proj_in")
    yield from _norm(f"{block}.norm1")
    for part in "qkv":
        yield _name(f"{block}.attn1.to_{part}.weight", _transposed)
    yield from _dense(f"{block}.attn1.to_out.0")
    yield from _norm(f"{block}.norm2")
    for part in "qkv":
        yield _name(f"{block}.attn2.to_{part}.weight", _transposed)
    yield from _dense(f"{block}.attn2.to_out.0")
    yield from _norm(f"{block}.norm3")
    yield from _dense(f"{block}.ff.net.0.proj")
    yield from _dense(f"{block}.ff.net.2")
    yield from _conv(f"{at}.proj_out")


def _vae(half: str, plan: Plan, layout: str) -> Names:
    """Name the blocks of a half of the VAE. The three around the attention are its middle."""
    middle = [kind for kind, _ in plan].index("attend")
    levels = 1 + sum(kind in ("down", "up") for kind, _ in plan)
    level, count, before = 0, 0, 3 if half == "encoder" else 4
    for index, (kind, width) in enumerate(plan):
        side = "down" if half == "encoder" else "up"
        # The original numbers the resolutions of the decoder from the picture on.
        other = level if half == "encoder" else levels - 1 - level
        theirs, original = f"{half}.{side}_blocks.{level}", f"{half}.{side}.{other}"
        if abs(index - middle) == 1:
            number = 0 if index < middle else 1
            names = f"{half}.mid_block.resnets.{number}", f"{half}.mid.block_{number + 1}"
        elif kind == "res":
            names = f"{theirs}.resnets.{count}", f"{original}.block.{count}"
            count += 1
        elif kind == "attend":
            names = f"{half}.mid_block.attentions.0", f"{half}.mid.attn_1"
        elif kind == "conv":
            names = f"{half}.conv_in", f"{half}.conv_in"
        else:
            names = f"{theirs}.{side}samplers.0.conv", f"{original}.{side}sample.conv"
            level, count = level + 1, 0
        at = names[0] if layout == DIFFUSERS else VAE + names[1]
        if kind == "res":
            yield from _vae_res(at, layout, narrows=before != width)
        elif kind == "attend":
            yield from _vae_attention(at, layout)
        else:
            yield from _conv(at)
        before = width


def _vae_res(at: str, layout: str, *, narrows: bool) -> Names:
    for number in "12":
        yield from _norm(f"{at}.norm{number}")
        yield from _conv(f"{at}.conv{number}")
    if narrows:
        yield from _conv(f"{at}.conv_shortcut" if layout == DIFFUSERS else f"{at}.nin_shortcut")


def _vae_attention(at: str, layout: str) -> Names:
    if layout == DIFFUSERS:
        yield from _norm(f"{at}.group_norm")
        for now, older in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            yield from _conv(f"{at}.{now}", f"{at}.{older}")
    else:
        yield from _norm(f"{at}.norm")
        for part in ("q", "k", "v", "proj_out"):
            yield from _conv(f"{at}.{part}")


def _at(layout: str, theirs: str, original: str) -> Callable[[str, str], str]:
    """Make a function that chooses the name of a layout."""
    return lambda name, other: theirs + name if layout == DIFFUSERS else original + other


def _name(text: str, ours: Callable[[Array], Array]) -> Name:
    return Name(text, (), ours)


def _norm(at: str) -> Names:
    yield _name(f"{at}.weight", _as_it_is)
    yield _name(f"{at}.bias", _as_it_is)


def _dense(at: str) -> Names:
    yield _name(f"{at}.weight", _transposed)
    yield _name(f"{at}.bias", _as_it_is)


def _conv(at: str, *older: str) -> Names:
    yield Name(f"{at}.weight", tuple(f"{one}.weight" for one in older), _kernel)
    yield Name(f"{at}.bias", tuple(f"{one}.bias" for one in older), _as_it_is)


def _as_it_is(array: Array) -> Array:
    return array


def _transposed(array: Array) -> Array:
    return array.T


def _kernel(array: Array) -> Array:
    """Make our kernel, (H, W, I, O), also of a dense layer that does what a 1 x 1 convolution does."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T[None, None]
