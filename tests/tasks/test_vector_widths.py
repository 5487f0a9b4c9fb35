"""Vectors of others fit the base models of their width, and a wrong one is said by kind."""

from pathlib import Path

import pytest

from conceptry.errors import ConceptryError
from tasks.vector_widths import base_model_of_width, check_width
from trainer.base_weights.presets import PRESETS, Preset, of


def entry(name: str, kind: str) -> Preset:
    told = {
        "kind": kind, "prediction": "epsilon", "checkpoint": f"{name}.safetensors", "content": "1" * 64,
        "files": {f"{name}.safetensors": "2" * 64},
    }  # fmt: skip
    return of(name, told)


ONE, TWO = entry("photoreal", "sd1"), entry("sd-2.1", "sd2")
KNOWN = {**PRESETS, "photoreal": ONE, "sd-2.1": TWO}


@pytest.mark.parametrize(("width", "name"), [(96, "tiny"), (768, "sd-v1-4"), (1024, "sd-2.1")])
def test_a_width_has_its_base_model(width: int, name: str) -> None:
    assert base_model_of_width(width, KNOWN, None) == name
    check_width(width, KNOWN[name], KNOWN, None)


@pytest.mark.parametrize(
    ("width", "known", "words"),
    [
        (1024, PRESETS, "add a checkpoint of Stable Diffusion 2.x with `conceptry base add`"),
        (1024, {**KNOWN, "other": entry("other", "sd2")}, "choose a base model that they fit: sd-2.1, other"),
        (100, KNOWN, "the tiny model 96, Stable Diffusion 1.x 768, Stable Diffusion 2.x 1024"),
    ],
)
def test_what_fits_none_or_several_is_said(width: int, known: dict[str, Preset], words: str) -> None:
    with pytest.raises(ConceptryError) as caught:
        base_model_of_width(width, known, None)
    assert words in str(caught.value)


def test_vectors_of_another_kind_are_refused_by_kind(tmp_path: Path) -> None:
    with pytest.raises(ConceptryError) as caught:
        check_width(1024, ONE, KNOWN, tmp_path)
    assert (
        "the vectors are 1024 wide, as those of Stable Diffusion 2.x are, and photoreal is Stable Diffusion 1.x, whose "
        "vectors are 768 wide"
    ) in str(caught.value)
    assert "choose a base model that they fit: sd-2.1" in str(caught.value)
