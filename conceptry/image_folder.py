"""What the files of an images folder are: images, their captions, and what file managers and devices leave there.

`conceptry new`, the fingerprint, the plan and the records all ask this module, so they count the same.

    IMG_1.txt, IMG_1.caption, IMG_1.jpg.txt    caption of IMG_1.jpg, in any case and Unicode form; the first one wins
    metadata.jsonl, captions.json              captions of several images of their folder, for those without one
    .*, Thumbs.db, @eaDir/..., __MACOSX/...    left by macOS, Windows, Synology, QNAP and camera programs; ignored
    everything else                            an image, or refused by name when it is read
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import splitext

CAPTION_SUFFIXES = (".txt", ".caption")
CAPTION_LISTS = frozenset({"metadata.jsonl", "captions.json"})
_JUNK = frozenset(
    {
        "thumbs.db", "desktop.ini", "ehthumbs.db", "ehthumbs_vista.db", "picasa.ini", "zbthumbnail.info",
        "__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information",
        "icon\r",
    }
)  # fmt: skip
"""Names of files and folders in small letters."""


def is_junk(relpath: str) -> bool:
    """Whether a path inside an images folder is no image of the user's: hidden, or left by a file manager."""
    return any(part.startswith(".") or part.lower() in _JUNK for part in relpath.split("/"))


def is_caption(relpath: str) -> bool:
    """Whether a file is a caption by its ending."""
    return splitext(relpath)[1].lower() in CAPTION_SUFFIXES


@dataclass(frozen=True)
class Captions:
    """Captions of a folder.

    Attributes:
        by_image: The images, with the caption file of each; None without one.
        lists: Files with captions of several images.
        stray: Captions that belong to no image.
    """

    by_image: dict[str, str | None]
    lists: tuple[str, ...]
    stray: tuple[str, ...]


def pair_captions(relpaths: Iterable[str]) -> Captions:
    """Find the caption of each image.

    Args:
        relpaths: Paths inside the folder, with /, without those that are junk.
    """
    every = sorted(relpaths)
    lists = tuple(path for path in every if path.rpartition("/")[2].lower() in CAPTION_LISTS)
    paths = [path for path in every if path not in lists]
    # In the order of CAPTION_SUFFIXES, so that a .txt wins over a .caption.
    captions: dict[str, str] = {}
    for suffix in CAPTION_SUFFIXES:
        for path in paths:
            if splitext(path)[1].lower() == suffix:
                captions.setdefault(name_key(splitext(path)[0]), path)
    by_image = {
        path: captions.get(name_key(splitext(path)[0]), captions.get(name_key(path)))
        for path in paths
        if not is_caption(path)
    }
    used = set(by_image.values())
    return Captions(by_image, lists, tuple(path for path in paths if is_caption(path) and path not in used))


def name_key(path: str) -> str:
    """Return what names of one file have in common on all systems."""
    # macOS stores names decomposed, and Windows does not tell cases apart.
    return unicodedata.normalize("NFC", path).casefold()
