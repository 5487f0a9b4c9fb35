"""Progress for TensorBoard: `tensorboard --logdir OUTPUT/tensorboard`.

The events are written with TensorFlow's own operations, as TensorBoard's plug-ins for scalars and images read them;
TensorBoard itself need not be installed where a token is trained.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image


class Summaries:
    """Writes to `folder`, or nothing at all where it is None: only the chief of several hosts has one."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = tf.summary.create_file_writer(str(folder)) if folder else None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each named curve."""
        for name, value in values.items():
            self._write(step, name, tf.constant(float(value)), "scalars")

    def picture(self, step: int, name: str, pixels: npt.NDArray[np.uint8]) -> None:
        """Add a picture, uint8 (H, W, 3)."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        height, width = pixels.shape[:2]
        self._write(step, name, tf.constant([str(width).encode(), str(height).encode(), buffer.getvalue()]), "images")

    def close(self) -> None:
        """Close the file; nothing can be added any more."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int, name: str, value: Any, plugin: str) -> None:
        if self._writer is None:
            return
        data = tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin)
        with self._writer.as_default():
            tf.summary.write(name, value, step, tf.compat.v1.SummaryMetadata(plugin_data=data))
        self._writer.flush()
