"""Latents after every step are those of diffusers' schedulers, which `python -m benchmarks.schedulers` recorded."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from benchmarks.schedulers import EVERY, compare, unet_of
from tests.support.sd_checkpoints import write_checkpoint

RECORDED = Path(__file__).parent / "checkpoints" / "drawn.safetensors"


@pytest.mark.parametrize("model", ["formula", "sd1", "sd2"])
def test_latents_after_every_step_are_those_of_diffusers(tmp_path: Path, model: str) -> None:
    unets = {} if model == "formula" else {model: unet_of(write_checkpoint(tmp_path, model, "diffusers"))}
    found = list(compare(unets, load_file(RECORDED), models=(model,), most_steps=20, every=EVERY))
    assert found
    assert [one for one in found if one["relative"] > 1e-5] == []
