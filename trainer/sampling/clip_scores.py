"""How near samples are to a concept's pictures, and to its initializer's words, by CLIP (Gal et al. 2022, section 4).

A CLIP score is a cosine times 100, as torchmetrics' CLIPScore; means over all pairs. The image score tells how well the
concept is met, the text score how much of what its words say is left: a token may gain much of the one only by
losing some of the other. Both are given for the initializer's samples, too, because by themselves they say little, and
from another CLIP model they are other figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.base_weights import presets
from trainer.base_weights.base_model import BaseModel
from trainer.data import prompts
from trainer.data.pictures import Picture
from trainer.data.tokenizer import Tokenizer
from trainer.metrics import ClipScore, ClipScores
from trainer.models.clip import Clip
from trainer.training_config import Config

_MERGES = "bpe_simple_vocab_16e6.txt.gz"
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scorer:
    """A CLIP model, and a tokenizer with its vocabulary; None where there is none, and texts cannot be scored."""

    clip: Clip
    tokenizer: Tokenizer | None

    def score(self, samples: Mapping[str, Pixels], pictures: Sequence[Picture], on: str, config: Config) -> ClipScores:
        """Score samples, uint8 (N, H, W, 3), by what they were drawn with.

        Args:
            samples: For example "initializer" and "trained", each with its pictures.
            pictures: Those of the concept.
            on: What these are, in words.
            config: Names the sentence and the initializer.

        Returns:
            What metrics.json holds under `clip`, with a score for every key of `samples`. Without a tokenizer there is
            no `text`.
        """
        rows = [picture.pixels for picture in pictures]
        vectors = self.clip.images([*rows, *(row for group in samples.values() for row in group)])
        concept, *groups = np.split(vectors, np.cumsum([len(rows), *map(len, samples.values())])[:-1])
        drawn = dict(zip(samples, groups, strict=True))
        model, image = _name(self.clip.weights), _score(drawn, concept, on)
        if not self.tokenizer:
            return ClipScores(model=model, image=image)
        text = prompts.evaluation_prompt(config.learnable_property).format(config.initializer_token)
        words = self.clip.texts(self.tokenizer.rows([text]))
        return ClipScores(model=model, image=image, text=_score(drawn, words, text))

    @staticmethod
    def curves(scores: ClipScores) -> dict[str, float]:
        """Name the scores as TensorBoard's curves: each of the trained vectors, and beside it the initializer's."""
        curves: dict[str, float] = {}
        for kind, score in (("image", scores.image), ("text", scores.text)):
            if score and score.trained is not None and score.initializer is not None:
                curves[f"CLIP {kind} score"] = score.trained
                curves[f"CLIP {kind} score/initializer"] = score.initializer
        return curves


def load(folder: Path, base: BaseModel) -> Scorer:
    """Load the CLIP model in `folder`, and a tokenizer for it: the base model's, or one beside either's weights.

    Raises:
        ValueError: The folder does not hold a CLIP model that is known here.
    """
    clip = Clip(folder)
    merges = [folder / _MERGES, folder.parent / _MERGES, *presets.locate(base.preset, base.base_dir).values()]
    for path in (path for path in merges if path.name.endswith(".txt.gz") and path.is_file()):
        tokenizer = Tokenizer(path, clip.shape.text.length)
        if tokenizer.vocabulary == clip.shape.vocabulary:
            return Scorer(clip, tokenizer)
    return Scorer(clip, None)


def _score(drawn: Mapping[str, Any], wanted: Any, on: str) -> ClipScore:
    cosines = {key: float((vectors @ wanted.T).mean(dtype="float64")) for key, vectors in drawn.items()}
    return ClipScore(on=on, **{key: round(100.0 * cosine, 2) for key, cosine in cosines.items()})


def _name(weights: Path) -> str:
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return presets.CLIP_NAME if digest in {file.sha256 for file in presets.CLIP} else f"sha256 {digest}"
