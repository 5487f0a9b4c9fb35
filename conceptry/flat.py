"""Nested settings as dotted keys such as `training.max_steps`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def flat(data: Mapping[str, Any] | BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return every scalar value by its dotted key; lists are left out."""
    found: dict[str, Any] = {}
    for key, value in (data.model_dump() if isinstance(data, BaseModel) else data).items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif not isinstance(value, (list, tuple)):
            found[prefix + key] = value
    return found
