"""Training fingerprint (the inputs of a version) and serving fingerprint (the inputs of a Space).

The training fingerprint is the sha256 of canonical JSON (sorted keys, no blanks, ASCII). A change of any value in it
starts a training on a rented GPU, so it holds only what training depends on.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.desired import ImageRef
from conceptry.image_folder import pair_captions
from conceptry.version import Version

TRAINING_KEYS = ("placeholder_token", "initializer_token", "learnable_property", "num_vectors")
_YOUNGER = ("templates", "flips", "mask")


def content_keys(images: Iterable[ImageRef]) -> tuple[str, ...]:
    """Return the sorted md5s of a folder of images, without file names.

    An image and its caption (`x.txt` beside `x.jpg`) make one key, `md5+md5`: swapping the captions of two images
    changes the result, renaming an image together with its caption does not.
    """
    files = {image.relpath: image.md5 for image in images}
    found = pair_captions(files)
    keys = [f"{files[path]}+{files[caption]}" if caption else files[path] for path, caption in found.by_image.items()]
    return tuple(sorted([*keys, *(files[path] for path in found.lists)]))


def training_keys(spec: ConceptSpec, base: BaseModel) -> dict[str, Any]:
    """Return every value that training depends on, except images and retraining date, by dotted key.

    The resolution is the effective one, and any other setting that is the preset's default is None, as if it was left
    out, so that writing the preset's default into concept.yaml changes nothing.
    """
    keys: dict[str, Any] = {key: getattr(spec, key) for key in TRAINING_KEYS}
    keys["resolution"] = spec.resolution or base.resolution
    training = spec.training.model_dump(exclude={"backend"})
    # A field that was added later counts only if it is set, or every published version would be trained again.
    younger = {key for key in _YOUNGER if training[key] is None}
    keys.update({f"training.{key}": value for key, value in training.items() if key not in younger})
    keys.update({"base_model": base.name, "base_digest": base.digest, "recipe": base.recipe})
    return without_defaults(keys, base)


def without_defaults(keys: Mapping[str, Any], base: BaseModel) -> dict[str, Any]:
    """Return training keys in which each value that is the default of their base model and recipe is None."""
    if (keys.get("base_model"), keys.get("recipe")) != (base.name, base.recipe):
        return dict(keys)
    written = {key for key, default in base.defaults.items() if keys.get(key) == default}
    values = {key: None if key in written else value for key, value in keys.items()}
    return {key: value for key, value in values.items() if key not in written or not _is_younger(key)}


def with_defaults(keys: Mapping[str, Any], base: BaseModel) -> Iterator[dict[str, Any]]:
    """Yield these keys, then each other way in which defaults can be written out that trains the same.

    Up to release 0.1 a default that was written out counted, and versions keep their fingerprints.
    """
    unset = [key for key in base.defaults if keys.get(key) is None]
    for count in range(len(unset) + 1):
        for chosen in combinations(unset, count):
            yield {**keys, **{key: base.defaults[key] for key in chosen}}


def equivalent_fingerprints(spec: ConceptSpec, images: Iterable[ImageRef], base: BaseModel) -> frozenset[str]:
    """Return the inputs fingerprints of all concept.yaml that train the same as this one."""
    content = content_keys(images)
    each = with_defaults(training_keys(spec, base), base)
    return frozenset(_sha256({"images": content, "keys": _nameless(keys, base)}) for keys in each)


def _nameless(keys: Mapping[str, Any], base: BaseModel) -> dict[str, Any]:
    """Return training keys in which the name of a checkpoint does not count: its content does, in `base_digest`."""
    return {**keys, "base_model": base.kind} if base.kind else dict(keys)


def _is_younger(key: str) -> bool:
    return key.removeprefix("training.") in _YOUNGER


def keys_digest(keys: Mapping[str, Any]) -> str:
    """Return a short digest of training keys, 12 hex digits; "" of none."""
    return _sha256(dict(keys))[:12] if keys else ""


def was_trained_with(version: Version, keys: Mapping[str, Any], base: BaseModel) -> bool:
    """Whether a version was trained with these training keys, also if it is not in full."""
    if version.keys is None:
        return without_defaults(version.spec, base) == dict(keys)
    return any(version.keys == keys_digest(same) for same in with_defaults(keys, base))


def trainer_config(spec: ConceptSpec) -> dict[str, Any]:
    """Return the part of concept.yaml that the trainer reads from its `--config` file."""
    keys = {*TRAINING_KEYS, "base_model", "base", "resolution", "training", "gate"}
    config = spec.model_dump(mode="json", include=keys, exclude={"training": {"backend"}, "gate": {"min_clip_gain"}})
    return config if spec.base else {key: value for key, value in config.items() if key != "base"}


def training_fingerprint(
    spec: ConceptSpec, images: Iterable[ImageRef], base: BaseModel, retrain: str | None = None
) -> str:
    """Return the fingerprint of a training's inputs: 64 hex digits.

    `retrain` is the ISO date on which a scheduled retraining of the same inputs is due. Without it the result is the
    inputs fingerprint, which all versions of the same inputs share.
    """
    inputs: dict[str, Any] = {"images": content_keys(images), "keys": _nameless(training_keys(spec, base), base)}
    if retrain is not None:
        inputs["retrain"] = retrain
    return _sha256(inputs)


def serving_fingerprint(spec: ConceptSpec, version: Version | None, templates: str) -> str:
    """Return the fingerprint of a Space's inputs, as `key=8 hex digits` joined by dots.

    The parts are hashed separately so that a plan can say which of them changed. Token, base model and other training
    keys are those of the served version, not of the current concept.yaml, so the version's commit stands for them.
    `templates` identifies the templates (tasks.space.TEMPLATES_REVISION).
    """
    parts: dict[str, Any] = {**spec.space.model_dump(), "endpoint": spec.endpoint.model_dump(exclude={"override"})}
    parts["version"] = None if version is None else [version.number, version.fingerprint]
    parts["templates"] = templates
    if spec.space.private:
        # Release 0.1 stored the registry's own token in private Spaces: each is pushed once more, which deletes it.
        parts["private"] = "with a token that reads"
    return ".".join(f"{key}={_sha256(value)[:8]}" for key, value in sorted(parts.items()))


def serving_changes(old: str, new: str) -> tuple[str, ...]:
    """Return the keys of the parts that differ between two serving fingerprints."""
    before, after = _parts(old), _parts(new)
    return tuple(key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key))


def only_release_changed(old: str, new: str) -> bool:
    """Whether two serving fingerprints differ only in what a release of Conceptry changes.

    That are the templates, and parts that one of them lacks because another release made it.
    """
    common = _parts(old).keys() & _parts(new).keys()
    return not set(serving_changes(old, new)).intersection(common) - {"templates"}


def has_templates(fingerprint: str, templates: str) -> bool:
    """Whether a serving fingerprint is one of these templates."""
    return _parts(fingerprint).get("templates") == _sha256(templates)[:8]


def _parts(fingerprint: str) -> Mapping[str, str]:
    return dict(part.split("=", 1) for part in fingerprint.split(".") if "=" in part)


def _sha256(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
