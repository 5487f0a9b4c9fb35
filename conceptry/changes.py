"""Why something is trained, in words: what differs between the inputs that git asks for and a version's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from conceptry.version import Version

_SHOWN_ELSEWHERE = {"base_digest"}


def training_changes(images: Sequence[str], keys: Mapping[str, Any], versions: Sequence[Version]) -> str:
    """Compare with the newest version, for example "images +2 -1, training.max_steps 2000 -> 3000".

    Args:
        images: content keys of the images in git.
        keys: training keys of concept.yaml in git.
        versions: what is published.
    """
    if not versions:
        return "first version"
    newest = max(versions, key=lambda version: version.number)
    changes = [*_image_changes(newest.images, images), *_key_changes(newest.spec, keys)]
    return ", ".join(changes) or f"inputs differ from {newest.name}'s"


def _image_changes(old: Sequence[str], new: Sequence[str]) -> list[str]:
    before, after = (Counter(key.partition("+")[0] for key in keys) for keys in (old, new))
    added, removed = (after - before).total(), (before - after).total()
    if added or removed:
        return ["images" + (f" +{added}" if added else "") + (f" -{removed}" if removed else "")]
    captions = (Counter(new) - Counter(old)).total()
    return [f"captions of {captions} image{'s' if captions > 1 else ''}"] if captions else []


def _key_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    changed = [key for key in new if key in old and old[key] != new[key]]
    changes = [f"{key} {_word(old[key])} -> {_word(new[key])}" for key in changed if key not in _SHOWN_ELSEWHERE]
    if "base_digest" in changed and "base_model" not in changed:
        changes.append(f"weights of {new['base_model']}")
    return changes


def _word(value: object) -> str:
    if value is None:
        return "default"
    return str(value).lower() if isinstance(value, bool) else str(value)
