"""Differences between the desired training inputs in git and those of a version."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from conceptry.actions import Change
from conceptry.reasons import ActionReason
from conceptry.version import Version

_SHOWN_ELSEWHERE = {"base_digest"}
_OF_THE_BASE_MODEL = {"base_model", "base_digest", "recipe", "resolution"}


def training_changes(
    images: Sequence[str], keys: Mapping[str, Any], versions: Sequence[Version]
) -> tuple[ActionReason, str]:
    """Return why the inputs differ from the newest version: reason, and words such as "images +2 -1, seed 0 -> 1".

    Args:
        images: Content keys of the images in git.
        keys: Training keys of concept.yaml in git.
        versions: Published versions.
    """
    if not versions:
        return ActionReason.FIRST_VERSION, "first version"
    newest = max(versions, key=lambda version: version.number)
    of_images, of_keys = _image_changes(newest.images, images), _key_changes(newest.spec, keys)
    changed = set(_changed(newest.spec, keys))
    if of_images:
        reason = ActionReason.IMAGES_CHANGED
    elif changed and changed <= _OF_THE_BASE_MODEL:
        reason = ActionReason.BASE_MODEL_CHANGED
    else:
        reason = ActionReason.SETTINGS_CHANGED
    return reason, ", ".join([*of_images, *of_keys]) or f"inputs differ from {newest.name}'s"


def list_changes(
    *,
    old_images: Sequence[str],
    new_images: Sequence[str],
    old_keys: Mapping[str, Any],
    new_keys: Mapping[str, Any],
    names: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Change, ...]:
    """Return each difference between two sets of inputs.

    Args:
        old_images: Content keys of the images before.
        new_images: Content keys of the images after.
        old_keys: Training keys before.
        new_keys: Training keys after.
        names: Known paths of images, by md5; an image without one is named by its md5.
    """
    files = _file_changes(_captions(old_images), _captions(new_images), names)
    return (*files, *(Change(key, _word(old_keys[key]), _word(new_keys[key])) for key in _changed(old_keys, new_keys)))


def _file_changes(
    before: Mapping[str, list[str]], after: Mapping[str, list[str]], names: Mapping[str, str]
) -> Iterable[Change]:
    def path(md5: str) -> str:
        return f"images/{names[md5]}" if md5 in names else f"image {md5[:12]}"

    for md5 in sorted(before.keys() | after.keys(), key=path):
        old, new = before.get(md5, []), after.get(md5, [])
        for _ in range(len(old) - len(new)):
            yield Change(path(md5), md5, None)
        for _ in range(len(new) - len(old)):
            yield Change(path(md5), None, md5)
        if old and new and sorted(old) != sorted(new):
            yield Change(f"caption of {path(md5)}", old[0] or None, new[0] or None)


def _captions(images: Sequence[str]) -> dict[str, list[str]]:
    """Return the md5s of each image's captions, "" for no caption; a repeated image has several."""
    found: dict[str, list[str]] = {}
    for key in images:
        md5, _, caption = key.partition("+")
        found.setdefault(md5, []).append(caption)
    return found


def _image_changes(old: Sequence[str], new: Sequence[str]) -> list[str]:
    before, after = (Counter(key.partition("+")[0] for key in keys) for keys in (old, new))
    added, removed = (after - before).total(), (before - after).total()
    if added or removed:
        return ["images" + (f" +{added}" if added else "") + (f" -{removed}" if removed else "")]
    captions = (Counter(new) - Counter(old)).total()
    return [f"captions of {captions} image{'s' if captions > 1 else ''}"] if captions else []


def _key_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    changed = _changed(old, new)
    changes = [f"{key} {_word(old[key])} -> {_word(new[key])}" for key in changed if key not in _SHOWN_ELSEWHERE]
    if "base_digest" in changed and "base_model" not in changed:
        changes.append(f"weights of {new['base_model']}")
    return changes


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [key for key in new if key in old and old[key] != new[key]]


def _word(value: object) -> str:
    if value is None:
        return "default"
    return str(value).lower() if isinstance(value, bool) else str(value)
