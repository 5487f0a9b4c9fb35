"""TFRecords: what the writer writes without TensorFlow is what TensorFlow reads, and writes itself."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from trainer.data import records
from trainer.data.records import Record


def png(colour: tuple[int, int, int], size: tuple[int, int] = (5, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def rows() -> list[Record]:
    return [
        Record(png((200, 10, 10)), 5, 4, "0" * 32, "a/rote Käfer.png", "ein roter Käfer"),
        Record(png((10, 200, 10), (300, 200)), 300, 200, "f" * 32, "b.png"),
    ]


def test_what_is_written_is_read(tmp_path: Path, rows: list[Record]) -> None:
    records.write(tmp_path / records.SHARD, rows)

    first, second = records.read(tmp_path).as_numpy_iterator()

    assert first[records.IMAGE] == rows[0].image_png
    assert first[records.PIXELS].shape == (4, 5, 3)
    assert first[records.PIXELS][0, 0].tolist() == [200, 10, 10]
    assert (first[records.WIDTH], first[records.HEIGHT]) == (5, 4)
    assert first[records.MD5] == b"0" * 32
    assert first[records.FILE].decode() == "a/rote Käfer.png"
    assert first[records.CAPTION].decode() == "ein roter Käfer"
    assert (second[records.WIDTH], second[records.CAPTION]) == (300, b"")


def test_the_bytes_are_those_that_tensorflow_writes(tmp_path: Path, rows: list[Record]) -> None:
    import tensorflow as tf

    def features(row: Record) -> Iterator[tuple[str, "tf.train.Feature"]]:
        for name, value in [
            (records.IMAGE, row.image_png),
            (records.MD5, row.md5.encode()),
            (records.CAPTION, row.caption.encode()),
            (records.FILE, row.filename.encode()),
        ]:
            yield name, tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, number in [(records.WIDTH, row.width), (records.HEIGHT, row.height)]:
            yield name, tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))

    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for row in rows:
            example = tf.train.Example(features=tf.train.Features(feature=dict(features(row))))
            writer.write(example.SerializeToString(deterministic=True))
    records.write(tmp_path / "ours", rows)

    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_several_files_are_read_in_the_order_of_their_names(tmp_path: Path, rows: list[Record]) -> None:
    records.write(tmp_path / "images-00001.tfrecord", rows[:1])
    records.write(tmp_path / "images-00000.tfrecord", rows[1:])

    widths = [int(row[records.WIDTH]) for row in records.read(f"{tmp_path}/images-*.tfrecord").as_numpy_iterator()]

    assert widths == [300, 5]


def test_no_records_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m tasks\.records"):
        records.read(tmp_path)


def test_a_damaged_file_is_noticed(tmp_path: Path, rows: list[Record]) -> None:
    import tensorflow as tf

    path = tmp_path / records.SHARD
    records.write(path, rows)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)

    with pytest.raises(tf.errors.DataLossError):
        list(records.read(tmp_path))
