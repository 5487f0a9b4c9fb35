"""Captions of several images in one file, as datasets and other trainers have them.

    metadata.jsonl    an object a line: {"file_name": "a.png", "text": "..."} (Hugging Face's image folders)
    captions.json     {"a.png": "..."}, {"a.png": {"caption": "..."}}, or a list of objects as above

Names are relative to the folder of the file, with or without their ending.

Source: https://huggingface.co/docs/datasets/image_dataset, and the metadata of kohya-ss/sd-scripts
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from posixpath import basename, dirname, join, normpath, splitext
from typing import Any

from conceptry.errors import ImageError
from conceptry.image_folder import name_key

_NAMES = ("file_name", "image", "file", "filename", "image_path")
_TEXTS = ("text", "caption", "prompt", "description")
MAX_BYTES = 4 << 20


def read_caption_lists(images_dir: Path, lists: Iterable[str]) -> dict[str, str]:
    """Return the captions by `name_key` of the image's path, and of its path without the ending.

    Args:
        images_dir: Folder of images.
        lists: Paths of the files in it, with /.

    Raises:
        ImageError: a file is not what its name says.
    """
    found: dict[str, str] = {}
    for file in lists:
        try:
            for name, caption in _captions(images_dir / file):
                # Other machines' absolute paths say only the name.
                inside = name if not name.startswith("/") and ":" not in name else basename(name.replace("\\", "/"))
                path = normpath(join(dirname(file), inside.replace("\\", "/")))
                found.setdefault(name_key(path), caption)
                found.setdefault(name_key(splitext(path)[0]), caption)
        except (ValueError, KeyError, TypeError) as error:
            raise ImageError(
                f"is not a list of captions ({error})",
                file=file,
                next_step='write {"file_name": "a.png", "text": "..."} a line in metadata.jsonl, or remove the file',
            ) from error
    return found


def caption_in(captions: Mapping[str, str], file: str) -> str:
    """Return the caption of an image; empty if the lists have none."""
    return captions.get(name_key(file), captions.get(name_key(splitext(file)[0]), ""))


def _captions(path: Path) -> Iterator[tuple[str, str]]:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MB")
    text = path.read_text("utf-8-sig")
    if path.suffix.lower() == ".jsonl":
        entries: Any = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        entries = json.loads(text)
    if isinstance(entries, dict):
        entries = [
            {"file_name": name, **(one if isinstance(one, dict) else {"text": one})} for name, one in entries.items()
        ]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("it holds no objects")
    for entry in entries:
        name, caption = (_first(entry, keys) for keys in (_NAMES, _TEXTS))
        if caption:
            yield name, " ".join(caption.split())


def _first(entry: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    values = [entry[key] for key in keys if entry.get(key)]
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values[0]!r} is no text")
    if not values and keys is _NAMES:
        raise KeyError(f"an entry without {keys[0]}")
    return values[0] if values else ""
