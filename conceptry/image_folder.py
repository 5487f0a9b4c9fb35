"""What the files of an images folder are: images, their captions, and what file managers and devices leave there.

`conceptry new`, the fingerprint, the plan and the records all ask this module, so they count the same.

    IMG_1.txt, IMG_1.caption, IMG_1.jpg.txt    caption of IMG_1.jpg, in any case and Unicode form; the first one wins
    .*, Thumbs.db, @eaDir/..., __MACOSX/...    left by macOS, Windows, Synology, QNAP and camera programs; ignored
    everything else                            an image, or refused by name when it is read
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import splitext

CAPTION_SUFFIXES = (".txt", ".caption")
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
    """Images of a folder with the caption file of each, None without one; and captions that belong to no image."""

    by_image: dict[str, str | None]
    stray: tuple[str, ...]


def pair_captions(relpaths: Iterable[str]) -> Captions:
    """Find the caption of each image.

    Args:
        relpaths: Paths inside the folder, with /, without those that are junk.
    """
    paths = sorted(relpaths)
    # In the order of CAPTION_SUFFIXES, so that a .txt wins over a .caption.
    captions: dict[str, str] = {}
    for suffix in CAPTION_SUFFIXES:
        for path in paths:
            if splitext(path)[1].lower() == suffix:
                captions.setdefault(_key(splitext(path)[0]), path)
    by_image = {
        path: captions.get(_key(splitext(path)[0]), captions.get(_key(path))) for path in paths if not is_caption(path)
    }
    used = set(by_image.values())
    return Captions(by_image, tuple(path for path in paths if is_caption(path) and path not in used))


def _key(path: str) -> str:
    # macOS stores names decomposed, and Windows does not tell cases apart.
    return unicodedata.normalize("NFC", path).casefold()
