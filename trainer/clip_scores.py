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

from trainer import presets, prompts
from trainer.base import BaseModel
from trainer.clip import Clip
from trainer.config import Config
from trainer.data import Picture
from trainer.tokens import Tokenizer

_MERGES = "bpe_simple_vocab_16e6.txt.gz"
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scorer:
    """A CLIP model, and a tokenizer with its vocabulary; None where there is none, and texts cannot be scored."""

    clip: Clip
    tokenizer: Tokenizer | None

    def score(
        self, samples: Mapping[str, Pixels], pictures: Sequence[Picture], on: str, config: Config
    ) -> dict[str, Any]:
        """Score samples, uint8 (N, H, W, 3), by what they were drawn with.

        Args:
            samples: For example "initializer" and "trained", each with its pictures.
            pictures: Those of the concept.
            on: What these are, in words.
            config: Names the sentence and the initializer.

        Returns:
            What metrics.json holds under `clip`: `model`, and `image` and `text`, each with a score for every key of
            `samples`. Without a tokenizer there is no `text`.
        """
        rows = [picture.pixels for picture in pictures]
        vectors = self.clip.images([*rows, *(row for group in samples.values() for row in group)])
        concept, *groups = np.split(vectors, np.cumsum([len(rows), *map(len, samples.values())])[:-1])
        drawn = dict(zip(samples, groups, strict=True))
        scores: dict[str, Any] = {"model": _name(self.clip.weights), "image": _scores(drawn, concept) | {"on": on}}
        if self.tokenizer:
            text = prompts.evaluation_prompt(config.learnable_property).format(config.initializer_token)
            words = self.clip.texts(self.tokenizer.rows([text]))
            scores["text"] = _scores(drawn, words) | {"on": text}
        return scores

    @staticmethod
    def curves(scores: Mapping[str, Any]) -> dict[str, float]:
        """Scores as TensorBoard names them."""
        kinds = [kind for kind in ("image", "text") if kind in scores]
        trained = {f"CLIP {kind} score": scores[kind]["trained"] for kind in kinds}
        return trained | {f"CLIP {kind} score/initializer": scores[kind]["initializer"] for kind in kinds}


def load(folder: Path, base: BaseModel) -> Scorer:
    """The CLIP model in `folder`, and a tokenizer for it: the base model's own, or one beside either's weights.

    Raises:
        ValueError: The folder does not hold a CLIP model that is known here.
    """
    clip = Clip(folder)
    merges = [folder / _MERGES, folder.parent / _MERGES, *presets.locate(base.name, base.base_dir).values()]
    for path in (path for path in merges if path.name.endswith(".txt.gz") and path.is_file()):
        tokenizer = Tokenizer(path, clip.shape.text.length)
        if tokenizer.vocabulary == clip.shape.vocabulary:
            return Scorer(clip, tokenizer)
    return Scorer(clip, None)


def _scores(drawn: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    return {key: round(100.0 * float((vectors @ wanted.T).mean(dtype="float64")), 2) for key, vectors in drawn.items()}


def _name(weights: Path) -> str:
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return presets.CLIP_NAME if digest in {file.sha256 for file in presets.CLIP} else f"sha256 {digest}"
