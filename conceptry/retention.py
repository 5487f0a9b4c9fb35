"""Which versions are kept when the registry is tidied up, and why. Everything else may go."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.fingerprint import training_keys
from conceptry.policy import Keep
from conceptry.version import Version

# A new RECIPE or other weights do not make git ask for less.
_OF_THE_BASE = frozenset({"base_digest", "recipe", "resolution"})


@dataclass(frozen=True)
class Asked:
    """What git asked for from a moment on, until the next edit: a concept's spec and images.dvc."""

    when: datetime
    spec: ConceptSpec
    dvc_md5: str


def reasons_to_keep(
    versions: Sequence[Version], released: Iterable[str], asked: Sequence[Asked], keep: Keep
) -> dict[str, str]:
    """Say why each version that stays does so; what is not named may be deleted.

    Args:
        versions: all of one concept.
        released: names of those that are served, or that git says to serve.
        asked: what git asked for within the horizon, and at its beginning.
        keep: how much to keep.
    """
    reasons: dict[str, str] = {}
    for version in sorted(versions, key=lambda version: version.number)[-keep.last :]:
        reasons[version.name] = "it is the newest" if keep.last == 1 else f"it is one of the last {keep.last}"
    for one in sorted(asked, key=lambda one: one.when):
        for version in versions:
            if one.spec.release == version.name or _made_of(version, one):
                reasons[version.name] = f"git asked for it on {one.when:%Y-%m-%d}"
    names = {version.name for version in versions}
    return reasons | {name: "it is released" for name in released if name in names}


def _made_of(version: Version, asked: Asked) -> bool:
    if version.dvc_md5 != asked.dvc_md5:
        return False
    base = BaseModel(asked.spec.base_model, "", 0, 0)
    return _own(training_keys(asked.spec, base)) == _own(version.spec)


def _own(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if key not in _OF_THE_BASE}
