"""Weights of several Keras models in one safetensors file, each named by its part and its place in the part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import load_file, save_file


def _names(part: str, model: keras.Model) -> list[str]:
    # Keras numbers layers by the order in which a process made them; the order within a model is what stays the same.
    return [f"{part}/{index:04d}/{weight.name}" for index, weight in enumerate(model.weights)]


def save(path: Path, parts: Mapping[str, keras.Model], dtype: str) -> None:
    """Write the weights of all parts, cast to `dtype` ("float16" or "float32")."""
    tensors = {
        name: np.ascontiguousarray(np.asarray(weight).astype(dtype))
        for part, model in parts.items()
        for name, weight in zip(_names(part, model), model.weights, strict=True)
    }
    save_file(tensors, str(path))


def load(path: Path, parts: Mapping[str, keras.Model]) -> None:
    """Set the weights of the given parts as float32; the file may hold more parts.

    Raises:
        ValueError: The file does not fit the models: another architecture, or a damaged file.
    """
    tensors = load_file(str(path))
    for part, model in parts.items():
        names = _names(part, model)
        wrong = [
            name
            for name, weight in zip(names, model.weights, strict=True)
            if name not in tensors or tensors[name].shape != tuple(weight.shape)
        ]
        if wrong:
            raise ValueError(f"{path} does not fit the {part}: {len(wrong)} of {len(names)} weights, first {wrong[0]}")
        model.set_weights([tensors[name].astype("float32") for name in names])
