"""What a training picture looks like on disk: the schema shared by the writer (tasks/records) and the reader (trainer).

A records folder holds TFRecord files `images-00000.tfrecord`, ... of `tf.train.Example`s, and `records.json`, which
people read. Pictures are kept as PNG of uint8 RGB, not as floats: a tenth of the size, and the same bytes every time.

TensorFlow is imported inside the functions, so that the names here cost nothing to import.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

IMAGE = "image/encoded"
WIDTH = "image/width"
HEIGHT = "image/height"
MD5 = "image/md5"
CAPTION = "image/caption"
FILE = "image/filename"
# Not stored: the reader adds the decoded picture under this key.
PIXELS = "image"

SHARD = "images-00000.tfrecord"
SHARDS = "images-*.tfrecord"
SUMMARY = "records.json"


@dataclass(frozen=True)
class Record:
    """One picture, ready for training.

    `image_png` is a PNG of uint8 RGB, `width` and `height` are its size in pixels, `md5` is the hash of the file that
    a person committed (what `images.dvc` lists), `filename` that file's path inside the concept's images folder, with
    `/`. `caption` is empty when the picture has none.
    """

    image_png: bytes
    width: int
    height: int
    md5: str
    filename: str
    caption: str = ""


def write(path: str | Path, records: Iterable[Record]) -> None:
    """Write one TFRecord file; the same records in the same order give the same bytes."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            # Protobuf maps have no order of their own.
            writer.write(_example(record).SerializeToString(deterministic=True))


def read(pattern: str | Path) -> tf.data.Dataset:
    """Read the TFRecord files that a glob (or a records folder) names, in the order of their names.

    Elements are dictionaries of scalars under `IMAGE` (the PNG's bytes), `WIDTH`, `HEIGHT`, `MD5`, `CAPTION`, `FILE`,
    and `PIXELS`: uint8 (height, width, 3). Pictures differ in size, so crop before you batch.

    Raises FileNotFoundError when there is no such file. A damaged file raises tf.errors.DataLossError while it is read.
    """
    import tensorflow as tf

    files = _shards(pattern)
    return tf.data.TFRecordDataset(files).map(_parse)


def _shards(pattern: str | Path) -> list[str]:
    import tensorflow as tf

    pattern = str(pattern)
    if tf.io.gfile.isdir(pattern):
        pattern = f"{pattern.rstrip('/')}/{SHARDS}"
    files = sorted(tf.io.gfile.glob(pattern))
    if not files:
        raise FileNotFoundError(f"No records at {pattern}: make them with `python -m tasks.records`.")
    return files


def _example(record: Record) -> tf.train.Example:
    import tensorflow as tf

    def text(value: str | bytes) -> tf.train.Feature:
        data = value.encode() if isinstance(value, str) else value
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))

    def number(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        IMAGE: text(record.image_png),
        WIDTH: number(record.width),
        HEIGHT: number(record.height),
        MD5: text(record.md5),
        CAPTION: text(record.caption),
        FILE: text(record.filename),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def _parse(serialized: tf.Tensor) -> dict[str, Any]:
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature([], tf.string) for name in (IMAGE, MD5, CAPTION, FILE)}
    features |= {name: tf.io.FixedLenFeature([], tf.int64) for name in (WIDTH, HEIGHT)}
    parsed: dict[str, Any] = tf.io.parse_single_example(serialized, features)
    parsed[PIXELS] = tf.io.decode_png(parsed[IMAGE], channels=3)
    return parsed
