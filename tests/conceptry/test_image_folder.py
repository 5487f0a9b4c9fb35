"""Folders as people copy them from phones, cameras, network storage and other trainers."""

import unicodedata

import pytest

from conceptry.image_folder import is_junk, pair_captions


@pytest.mark.parametrize(
    "relpath",
    [
        ".DS_Store", "sub/.DS_Store", "._cat.jpg", "Thumbs.db", "desktop.ini", "__MACOSX/cat.jpg", "ehthumbs.db",
        "@eaDir/cat.jpg/SYNOPHOTO_THUMB_M.jpg", "trip/@eaDir/cat.jpg@SynoEAStream", ".@__thumb/s100cat.jpg", "Icon\r",
        "$RECYCLE.BIN/S-1-5/cat.jpg", "#recycle/cat.jpg", "Picasa.ini",
    ],
)  # fmt: skip
def test_what_file_managers_and_devices_leave_is_junk(relpath: str) -> None:
    assert is_junk(relpath)


@pytest.mark.parametrize("relpath", ["cat.jpg", "a.b/cat", "cat.txt", "eaDir/cat.jpg", "recycle/cat.jpg"])
def test_images_and_captions_are_not(relpath: str) -> None:
    assert not is_junk(relpath)


def test_captions_of_the_common_trainers_are_paired_with_their_images() -> None:
    files = ["a.jpg", "a.txt", "b.PNG", "B.CAPTION", "sub/c.jpeg", "sub/c.jpeg.txt", "sub/d.webp", "d.txt"]
    pairs = pair_captions(files)
    assert pairs.by_image == {
        "a.jpg": "a.txt",
        "b.PNG": "B.CAPTION",
        "sub/c.jpeg": "sub/c.jpeg.txt",
        "sub/d.webp": None,
    }
    assert pairs.stray == ("d.txt",)


def test_a_txt_wins_over_a_caption_which_is_not_dropped_silently() -> None:
    pairs = pair_captions(["a.jpg", "a.caption", "a.txt"])
    assert (pairs.by_image, pairs.stray) == ({"a.jpg": "a.txt"}, ("a.caption",))


def test_names_are_compared_in_any_unicode_form() -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert pair_captions([f"{composed}.jpg", f"{decomposed}.txt"]).by_image == {f"{composed}.jpg": f"{decomposed}.txt"}


def test_lists_of_captions_are_no_images() -> None:
    pairs = pair_captions(["a.jpg", "metadata.jsonl", "sub/Captions.JSON", "a.txt"])
    assert pairs.by_image == {"a.jpg": "a.txt"}
    assert pairs.lists == ("metadata.jsonl", "sub/Captions.JSON")
