"""Retention of versions: which ones `conceptry gc` keeps, and why. All others may be deleted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.fingerprint import training_keys, without_defaults
from conceptry.policy import Keep
from conceptry.version import Version

# A version stays desired when only RECIPE or the weights of its base model changed.
_OF_THE_BASE = frozenset({"base_digest", "recipe", "resolution"})


@dataclass(frozen=True)
class PastDesired:
    """Spec and images.dvc of a concept in git from a moment on, until the next edit."""

    when: datetime
    spec: ConceptSpec
    dvc_md5: str


def reasons_to_keep(
    versions: Sequence[Version],
    released: Iterable[str],
    history: Sequence[PastDesired],
    keep: Keep,
    bases: Mapping[str, BaseModel],
) -> dict[str, str]:
    """Return the reason for each version to keep, by name; a version without one may be deleted.

    Args:
        versions: All versions of one concept.
        released: Names of the versions that are served, or that concept.yaml pins.
        history: Desired states within the retention period, and the one at its beginning.
        keep: Retention policy.
        bases: Base models by name, for their defaults.
    """
    reasons: dict[str, str] = {}
    for version in sorted(versions, key=lambda version: version.number)[-keep.last :]:
        reasons[version.name] = "it is the newest" if keep.last == 1 else f"it is one of the last {keep.last}"
    for one in sorted(history, key=lambda one: one.when):
        for version in versions:
            if one.spec.release == version.name or _made_of(version, one, bases):
                reasons[version.name] = f"it was desired in git on {one.when:%Y-%m-%d}"
    names = {version.name for version in versions}
    return reasons | {name: "it is released" for name in released if name in names}


def _made_of(version: Version, desired: PastDesired, bases: Mapping[str, BaseModel]) -> bool:
    if version.dvc_md5 != desired.dvc_md5:
        return False
    base = bases.get(desired.spec.base_model) or BaseModel(desired.spec.base_model, "", 0, 0)
    return _own(training_keys(desired.spec, base), base) == _own(version.spec, base)


def _own(keys: Mapping[str, Any], base: BaseModel) -> dict[str, Any]:
    effective = without_defaults({**keys, "recipe": base.recipe}, base)
    return {key: value for key, value in effective.items() if key not in _OF_THE_BASE}
