"""Scoring samples with CLIP: both towers against transformers' own words, and what a folder of weights must hold.

tests/trainer/clip is a small CLIP model of random weights, with what transformers makes of pictures and texts; it was
written by benchmarks/peers/transformers_clip.py.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from tests.support.trainer_runs import CLIP, RecordsMaker, Trained, run_trainer
from trainer import training_config
from trainer.base_weights import weight_reader
from trainer.base_weights.base_model import BaseModel
from trainer.data.pictures import Picture
from trainer.metrics import ClipScore
from trainer.models.clip import Clip, prepare, read_shape
from trainer.sampling import clip_scores

Expected = dict[str, Any]


@pytest.fixture(scope="module")
def expected() -> Expected:
    with np.load(CLIP / "expected.npz") as stored:
        return dict(stored)


def pictures(expected: Expected) -> list[np.ndarray]:
    return [expected[f"picture{index}"] for index in range(len(expected["images"]))]


def test_pictures_are_prepared_as_clips_processor_does(expected: Expected) -> None:
    assert len({picture.shape for picture in pictures(expected)}) == 4
    prepared = np.stack([prepare(picture, 32) for picture in pictures(expected)])
    np.testing.assert_allclose(prepared, expected["prepared"], rtol=0, atol=1e-6)


def test_both_towers_say_what_transformers_says(expected: Expected) -> None:
    clip = Clip(CLIP)
    images, texts = clip.images(pictures(expected)), clip.texts(expected["tokens"])
    np.testing.assert_allclose(images, expected["images"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(texts, expected["texts"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(images @ texts.T, expected["cosines"], rtol=0, atol=2e-6)


def test_scores_are_mean_cosines_times_a_hundred(expected: Expected) -> None:
    asked = {"placeholder_token": "<x>", "initializer_token": "heart", "base_model": "tiny"}
    before, after = (np.stack([pictures(expected)[index]] * 2) for index in (0, 1))
    concept = [Picture(pixels, "") for pixels in pictures(expected)[2:]]
    scorer = clip_scores.load(CLIP, BaseModel("tiny"))
    drawn = {"initializer": before, "trained": after}
    scores = scorer.score(drawn, concept, "training images", training_config.parse(asked))
    means = 100.0 * (expected["images"][:2] @ expected["images"][2:].T).mean(axis=1)
    image, text = scores.image, scores.text
    assert image is not None
    assert image.on == "training images"
    assert [image.initializer, image.trained] == pytest.approx(means, abs=0.01)
    assert text is not None
    assert text.on == "a photo of heart"
    assert text.trained != text.initializer
    assert (scores.model or "").startswith("sha256 ")


def test_texts_are_left_out_without_a_tokenizer_for_them(expected: Expected, tmp_path: Path) -> None:
    document = json.loads((CLIP / "config.json").read_text())
    document["text_config"]["vocab_size"] = 700
    tensors = load_file(CLIP / "model.safetensors")
    name = "text_model.embeddings.token_embedding.weight"
    tensors[name] = tensors[name][:700].copy()
    (tmp_path / "config.json").write_text(json.dumps(document))
    save_file(tensors, tmp_path / "model.safetensors")
    scorer = clip_scores.load(tmp_path, BaseModel("tiny"))
    asked = training_config.parse({"placeholder_token": "<x>", "initializer_token": "heart", "base_model": "tiny"})
    few = pictures(expected)[:1]
    scores = scorer.score({"trained": np.stack(few)}, [Picture(few[0], "")], "training images", asked)
    assert scores.image == ClipScore(trained=100.0, on="training images")
    assert scores.text is None


def test_sizes_that_a_config_leaves_out_are_transformers_defaults(tmp_path: Path) -> None:
    # As openai/clip-vit-large-patch14 has it: the same twice, in two manners.
    large = {
        "projection_dim": 768,
        "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "eos_token_id": 2},
        "text_config_dict": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        "vision_config_dict": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
        | {"num_hidden_layers": 24, "patch_size": 14},
        "vision_config": {},
    }
    (tmp_path / "config.json").write_text(json.dumps(large))
    shape = read_shape(tmp_path / "config.json")
    assert (shape.text.length, shape.text.width, shape.text.layers, shape.text.heads) == (77, 768, 12, 12)
    assert (shape.vision.side, shape.vision.patch, shape.vision.width) == (224, 14, 1024)
    assert (shape.vision.layers, shape.vision.heads, shape.vocabulary, shape.projection) == (24, 16, 49408, 768)


def without(path: Path, name: str) -> None:
    tensors = load_file(path)
    del tensors[name]
    save_file(tensors, path)


def in_config(path: Path, section: str, **changes: object) -> None:
    document = json.loads(path.read_text())
    document[section] |= changes
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda at: (at / "config.json").unlink(), "has no config.json"),
        (lambda at: (at / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda at: (at / "model.safetensors").write_bytes(b"version https://git-lfs"), "cannot be read"),
        (lambda at: without(at / "model.safetensors", "visual_projection.weight"), "lacks visual_projection.weight"),
        (
            lambda at: in_config(at / "config.json", "vision_config", image_size=64),
            r"position_embedding.weight is F16 \(17, 24\), not F32 or F16 \(65, 24\)",
        ),
        (lambda at: in_config(at / "config.json", "text_config", hidden_act="gelu"), "hidden_act must be quick_gelu"),
        (lambda at: in_config(at / "config.json", "text_config", intermediate_size=5), "four times hidden_size"),
        (lambda at: in_config(at / "config.json", "vision_config", patch_size=0), "not describe a CLIP model"),
        (lambda at: (at / "config.json").write_text("[]"), "not describe a CLIP model"),
    ],
)
def test_a_folder_that_holds_no_such_model_is_one_clear_error(
    break_it: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    shutil.copytree(CLIP, tmp_path / "clip")
    break_it(tmp_path / "clip")
    with pytest.raises(ValueError, match=message):
        Clip(tmp_path / "clip")


def test_the_trainer_scores_its_samples(trained: Trained) -> None:
    scores = trained.metrics.clip
    assert scores is not None
    for score, on in ((scores.image, "held-out images"), (scores.text, "a photo of crescent")):
        assert score is not None
        assert score.on == on
        assert score.initializer is not None
        assert -100.0 <= score.initializer <= 100.0
        assert score.initializer != score.trained


def test_a_clip_model_that_cannot_be_used_is_said_before_the_training(
    trained: Trained, make_records: RecordsMaker, tmp_path: Path
) -> None:
    (tmp_path / "base" / "clip").mkdir(parents=True)
    shutil.copy(CLIP / "config.json", tmp_path / "base" / "clip")
    records = make_records(tmp_path / "records", ("red", "heart"), 2)
    done = run_trainer(records, trained.config, tmp_path / "output", tmp_path / "base")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"trainer: {tmp_path}/base/clip has no model.safetensors")
    assert done.stdout == ""


def test_weights_that_are_let_go_hold_nothing() -> None:
    large = tf.Variable(tf.ones((64, 64)))
    weight_reader.free([large])
    assert np.asarray(large).size == 0
