"""What a training picture looks like on disk: the schema shared by the writer (tasks/records) and the reader (trainer).

A records folder holds TFRecord files `images-00000.tfrecord`, ... of `tf.train.Example`s, and `records.json`, which
people read. Pictures are kept as PNG of uint8 RGB, not as floats: a tenth of the size, and the same bytes every time.

TensorFlow is imported inside the functions, so that the names here cost nothing to import.
"""

from __future__ import annotations

import struct
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
# Only where `training.mask` asks for it.
MASK = "image/mask"
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
    `/`. `caption` is empty when the picture has none. `mask_png` is a PNG of uint8 grey in the same size, 255 where the
    loss counts; empty is all of it.
    """

    image_png: bytes
    width: int
    height: int
    md5: str
    filename: str
    caption: str = ""
    mask_png: bytes = b""


def write(path: str | Path, records: Iterable[Record]) -> None:
    """Write one TFRecord file; the same records in the same order give the same bytes.

    The two formats are small and will not change, and TensorFlow takes seconds to import, so the writer does without:
    each record is its length, the length's masked CRC-32C, its bytes, and their masked CRC-32C (little-endian).
    """
    with Path(path).open("wb") as file:
        for record in records:
            data = _example(record)
            length = struct.pack("<Q", len(data))
            file.write(length + _masked_crc(length) + data + _masked_crc(data))


def read(pattern: str | Path) -> tf.data.Dataset:
    """Read the TFRecord files that a glob (or a records folder) names, in the order of their names.

    Elements are dictionaries of scalars under `IMAGE` (the PNG's bytes), `WIDTH`, `HEIGHT`, `MD5`, `CAPTION`, `FILE`,
    `MASK` (a PNG's bytes, empty without one) and `PIXELS`: uint8 (height, width, 3). Pictures differ in size, so crop
    before you batch.

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


def _example(record: Record) -> bytes:
    """Encode a tf.train.Example as deterministic protobuf does: features in the order of their names."""
    values: dict[str, str | bytes | int] = {
        IMAGE: record.image_png,
        WIDTH: record.width,
        HEIGHT: record.height,
        MD5: record.md5,
        CAPTION: record.caption,
        FILE: record.filename,
        **({MASK: record.mask_png} if record.mask_png else {}),
    }
    # Example.features = 1; Features.feature = 1, a map whose entries are (key = 1, value = 2).
    entries = (_field(1, _field(1, name.encode()) + _field(2, _feature(values[name]))) for name in sorted(values))
    return _field(1, b"".join(entries))


def _feature(value: str | bytes | int) -> bytes:
    # Feature.bytes_list = 1, Feature.int64_list = 3; in both lists the values are field 1.
    if isinstance(value, int):
        return _field(3, _field(1, _varint(value)))
    return _field(1, _field(1, value.encode() if isinstance(value, str) else value))


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _masked_crc(data: bytes) -> bytes:
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _parse(serialized: tf.Tensor) -> dict[str, Any]:
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature([], tf.string) for name in (IMAGE, MD5, CAPTION, FILE)}
    features |= {name: tf.io.FixedLenFeature([], tf.int64) for name in (WIDTH, HEIGHT)}
    features[MASK] = tf.io.FixedLenFeature([], tf.string, default_value="")
    parsed: dict[str, Any] = tf.io.parse_single_example(serialized, features)
    parsed[PIXELS] = tf.io.decode_png(parsed[IMAGE], channels=3)
    return parsed
