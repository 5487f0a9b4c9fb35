"""A folder of pictures becomes a folder of records: whole, deterministic, with everything doubtful said."""

import hashlib
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from conceptry.concept import load_spec
from conceptry.errors import ImageError
from conceptry.fingerprint import trainer_config
from tasks.records import __main__ as command
from tasks.records import build_records
from trainer.data import records


def picture(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A soft, colourful blob with a little noise: like a photograph of a thing on a table."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    centre, table, thing = generator.uniform(0.2, 0.6, 2), *generator.uniform(30, 220, (2, 3))
    blob = np.exp(-(((x - centre[0]) / 0.15) ** 2 + ((y - centre[1]) / 0.2) ** 2))[..., None]
    pixels = table * (1 - blob) + thing * blob + 40 * (x - y)[..., None] + generator.normal(0, 3, (*size[::-1], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(["a.png", "b.jpg", "sub/c.webp"]):
        picture(seed).save(folder / name)
    return folder


def read(folder: Path) -> list[dict[str, Any]]:
    return list(records.read(folder).as_numpy_iterator())


def test_pictures_become_records_in_the_order_of_their_md5(images: Path, tmp_path: Path) -> None:
    report = build_records(images, tmp_path / "records", 64)

    assert (report.count, report.different) == (3, 3)
    assert report.judged_by(None) == "3 images: 1 held out to judge the result by, 2 to train on"
    assert report.judged_by(0).endswith("because training.held_out is 0, so the gate will be undecided")
    two, one = (replace(report, count=count, different=count) for count in (2, 1))
    assert two.judged_by(None) == "2 images: each is judged by a short training on the other one"
    assert one.judged_by(None).startswith("1 image: nothing to judge the result by")
    judged = [[each.is_judged(wanted) for wanted in (None, 0, 1)] for each in (report, two, one)]
    assert judged == [[True, False, True], [True, False, True], [False, False, False]]
    assert report.warnings == ()
    rows = read(tmp_path / "records")
    md5s = {hashlib.md5(path.read_bytes()).hexdigest(): path for path in images.rglob("*.*")}
    assert [row[records.MD5].decode() for row in rows] == sorted(md5s)
    for row in rows:
        path = md5s[row[records.MD5].decode()]
        assert row[records.FILE].decode() == path.relative_to(images).as_posix()
        assert row[records.PIXELS].dtype == np.uint8
        assert row[records.PIXELS].shape == (row[records.HEIGHT], row[records.WIDTH], 3) == (64, 85, 3)


def test_the_summary_says_what_is_inside(images: Path, tmp_path: Path) -> None:
    picture(7, (50, 40)).save(images / "small.png")
    report = build_records(images, tmp_path / "records", 64)

    summary = json.loads((tmp_path / "records" / "records.json").read_text())
    assert summary["resolution"] == 64
    assert {image["file"] for image in summary["images"]} == {"a.png", "b.jpg", "sub/c.webp", "small.png"}
    assert {(image["width"], image["height"]) for image in summary["images"]} == {(85, 64), (80, 64)}
    assert summary["warnings"] == list(report.warnings)
    assert report.warnings == ("small.png: is only 50 x 40 pixels, enlarged to 64; use a larger one if possible",)


def test_pictures_that_square_crops_cut_are_named_in_one_line(images: Path, tmp_path: Path) -> None:
    assert build_records(images, tmp_path / "records", 64).notes == (), "4:3 is what cameras take"
    for name, size in (("trip/panorama.jpg", (400, 100)), ("phone.jpg", (90, 160)), ("camera.jpg", (150, 100))):
        (images / name).parent.mkdir(exist_ok=True)
        picture(len(name), size).save(images / name)

    report = build_records(images, tmp_path / "records", 64)

    [note] = report.notes
    assert note.startswith("2 images lose over 40% of the area to the square crops")
    assert "trip/panorama.jpg (75%), phone.jpg (44%); crop them" in note
    assert report.warnings == ()


def test_the_same_pictures_give_the_same_bytes(images: Path, tmp_path: Path) -> None:
    build_records(images, tmp_path / "one", 64)
    for path in images.rglob("*.*"):
        os.utime(path, (1, 1))
    (images / ".DS_Store").write_bytes(b"junk")
    (images / "Thumbs.db").write_bytes(b"junk")
    (images / "sub" / "desktop.ini").write_bytes(b"junk")
    build_records(images, tmp_path / "two", 64)

    for name in (records.SHARD, records.SUMMARY):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_text_file_beside_a_picture_is_its_caption(images: Path, tmp_path: Path) -> None:
    (images / "a.txt").write_text("\ufeffein roter\n  Käfer \n", encoding="utf-8")
    (images / "sub" / "c.TXT").write_text("a blob", encoding="utf-8")
    (images / "nobody.txt").write_text("lonely", encoding="utf-8")

    report = build_records(images, tmp_path / "records", 64)

    captions = {row[records.FILE].decode(): row[records.CAPTION].decode() for row in read(tmp_path / "records")}
    assert captions == {"a.png": "ein roter Käfer", "b.jpg": "", "sub/c.webp": "a blob"}
    assert report.warnings == ("nobody.txt: is a caption without an image of that name; it is not used",)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("metadata.jsonl", '{"file_name": "NAME", "text": "a red square"}\n\n{"file_name": "gone.png", "text": "x"}\n'),
        ("captions.json", '{"NAME": "a red\\nsquare"}'),
        ("captions.json", '{"C:\\\\data\\\\NAME": {"caption": "a red square", "tags": "x"}}'),
        ("captions.json", '[{"image": "STEM", "caption": "a red square"}]'),
    ],
)
def test_captions_may_be_in_one_file(images: Path, tmp_path: Path, file: str, text: str) -> None:
    picture = min(path for path in images.iterdir() if path.is_file())
    (images / file).write_text(text.replace("NAME", picture.name).replace("STEM", picture.stem))
    (images / "b.txt").write_text("its own")
    build_records(images, tmp_path / "records", 64)
    captions = {row[records.FILE].decode(): row[records.CAPTION].decode() for row in read(tmp_path / "records")}
    assert captions.pop(picture.name) == "a red square"
    assert captions == {"b.jpg": "its own", "sub/c.webp": ""}


@pytest.mark.parametrize("text", ["{", "[1]", '[{"text": "a"}]', '{"a.png": 3}', '"text"'])
def test_a_list_of_captions_that_is_none_is_named(images: Path, tmp_path: Path, text: str) -> None:
    (images / "captions.json").write_text(text)
    with pytest.raises(ImageError, match=r"captions\.json: is not a list of captions.*metadata\.jsonl"):
        build_records(images, tmp_path / "records", 64)


@pytest.mark.parametrize(("text", "message"), [(b"\xff\xfe\x00", "not UTF-8"), (b"x" * 2000, "2000 characters")])
def test_an_unusable_caption_is_named(images: Path, tmp_path: Path, text: bytes, message: str) -> None:
    (images / "a.txt").write_bytes(text)
    with pytest.raises(ImageError, match=rf"a\.txt: .*{message}"):
        build_records(images, tmp_path / "records", 64)


def test_every_unusable_picture_is_named_and_nothing_is_left(images: Path, tmp_path: Path) -> None:
    (images / "video.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(50))
    (images / "sub" / "cut.jpg").write_bytes((images / "b.jpg").read_bytes()[:400])

    with pytest.raises(ImageError) as caught:
        build_records(images, tmp_path / "out" / "records", 64)

    message = str(caught.value)
    assert "2 images cannot be used" in message
    assert "sub/cut.jpg: is damaged or truncated" in message
    assert "video.mp4: is MP4 video" in message
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".DS_Store").touch()
    with pytest.raises(ImageError, match=r"images: contains no images"):
        build_records(tmp_path / "images", tmp_path / "records", 64)
    with pytest.raises(ImageError, match=r"nowhere: is not a folder"):
        build_records(tmp_path / "nowhere", tmp_path / "records", 64)


def again(image: Image.Image, how: str) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    if how == "as a poor JPEG":
        image.save(buffer, "JPEG", quality=40)
        return buffer.getvalue(), "jpg"
    changed = {
        "smaller": lambda: image.resize((80, 60)),
        "brighter": lambda: ImageEnhance.Brightness(image).enhance(1.05),
        "trimmed": lambda: image.crop((1, 1, 119, 89)),
    }[how]()
    changed.save(buffer, "PNG")
    return buffer.getvalue(), "png"


@pytest.mark.parametrize("how", ["as a poor JPEG", "smaller", "brighter", "trimmed"])
def test_a_picture_saved_again_is_noticed(images: Path, tmp_path: Path, how: str) -> None:
    data, suffix = again(picture(0), how)
    (images / f"z.{suffix}").write_bytes(data)

    report = build_records(images, tmp_path / "records", 64)

    assert [warning for warning in report.warnings if "look the same" in warning] == [
        f"a.png and z.{suffix} look the same; remove one, or use an image that differs more"
    ]


def test_an_exact_copy_is_noticed(images: Path, tmp_path: Path) -> None:
    (images / "copy.png").write_bytes((images / "a.png").read_bytes())
    report = build_records(images, tmp_path / "records", 64)
    assert report.warnings == ("a.png and copy.png are the same file; remove one",)
    assert report.count == 4


def test_other_pictures_of_the_same_thing_are_no_duplicates(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    # A plain square on a plain table, somewhere else each time: the hardest case, for it has hardly any edges.
    for number, (left, top) in enumerate([(4, 4), (14, 6), (30, 10), (8, 22), (24, 24), (40, 40)]):
        image = Image.new("RGB", (96, 96), (225, 225, 220))
        image.paste((200, 40, 40), (left, top, left + 40, top + 40))
        image.save(tmp_path / "images" / f"{number}.png")
    # Two of one colour say nothing about anything.
    for colour in ("navy", "teal"):
        Image.new("RGB", (96, 96), colour).save(tmp_path / "images" / f"{colour}.png")
    assert build_records(tmp_path / "images", tmp_path / "records", 64).warnings == ()


def test_an_older_folder_is_replaced(images: Path, tmp_path: Path) -> None:
    build_records(images, tmp_path / "records", 64)
    (tmp_path / "records" / "images-00001.tfrecord").write_bytes(b"of an older version")
    (images / "a.png").unlink()

    build_records(images, tmp_path / "records", 64)

    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == [records.SHARD, records.SUMMARY]
    assert len(read(tmp_path / "records")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "records"]


def test_two_at_once_end_in_one_whole_folder(images: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: build_records(images, tmp_path / "records", 64), range(8)))

    assert [report.count for report in reports] == [3] * 8
    assert len(read(tmp_path / "records")) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "records"]


CONCEPT = "placeholder_token: <thing>\ninitializer_token: circle\nresolution: 128\nspace:\n  title: A thing\n"


@pytest.fixture
def concept(images: Path) -> Path:
    (images.parent / "concept.yaml").write_text(CONCEPT)
    return images.parent


def test_the_command_writes_records_and_the_trainers_configuration(concept: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "out" / "records", tmp_path / "out" / "config.json"
    assert command.main(["--concept", str(concept), "--output", str(out), "--config", str(config)]) == 0

    assert json.loads(config.read_text()) == trainer_config(load_spec(CONCEPT, "concept.yaml"))
    assert json.loads((out / records.SUMMARY).read_text())["resolution"] == 128


def test_the_command_takes_a_plain_folder(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (images / "copy.png").write_bytes((images / "a.png").read_bytes())
    arguments = ["--images", str(images), "--output", str(tmp_path / "records"), "--resolution", "64"]
    assert command.main(arguments) == 0

    said = capsys.readouterr()
    assert "4 pictures" in said.out
    assert "warning: a.png and copy.png are the same file" in said.err


def test_the_command_ends_with_2_and_the_reason(concept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (concept / "concept.yaml").write_text("placeholder_token: nonsense\n")
    assert command.main(["--concept", str(concept), "--output", str(concept / "records")]) == 2
    assert "placeholder" in capsys.readouterr().err

    with pytest.raises(SystemExit) as caught:
        command.main(["--images", str(concept / "images"), "--output", str(concept / "records")])
    assert caught.value.code == 2


def test_writing_records_does_not_load_tensorflow(images: Path, tmp_path: Path, repo_root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tasks.records import build_records\n"
        "build_records(Path(sys.argv[1]), Path(sys.argv[2]), 64); sys.exit('tensorflow' in sys.modules)"
    )
    arguments = [sys.executable, "-c", program, str(images), str(tmp_path / "records")]
    assert subprocess.run(arguments, cwd=repo_root, check=False).returncode == 0
