"""Cards (README.md): their YAML front matter, its validation, and the tags that it implies."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

import yaml

from emulators.hub.names import Kind

_FRONT_MATTER = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)(?:^|\r?\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_SDKS = ("gradio", "docker", "static", "streamlit")
_COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_LISTS = ("tags", "language", "datasets", "metrics", "models")
_MAX_FRONT_MATTER = 1 << 20

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def split(text: str) -> tuple[str | None, str]:
    """Split a card into its YAML text (none without front matter) and its Markdown."""
    match = _FRONT_MATTER.match(text)
    return (match[1], text[match.end() :]) if match else (None, text)


def parse(text: str) -> dict[str, Any]:
    """Return the card's metadata with JSON types only; empty when it is missing or no valid YAML mapping."""
    source, _ = split(text)
    try:
        data = _load(source or "")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _load(source: str) -> Any:
    if len(source) > _MAX_FRONT_MATTER:
        raise ValueError(f"The metadata has more than {_MAX_FRONT_MATTER} characters")
    try:
        # Aliases are refused: a short text of them expands to more than fits into memory.
        if any(isinstance(t, yaml.AliasToken) for t in yaml.scan(source, Loader=_Loader)):
            raise ValueError("YAML aliases are not allowed in a card's metadata")
        return _plain(yaml.load(source, Loader=_Loader))  # a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(str(error).replace("\n", " ")) from None


def _plain(value: Any) -> Any:
    # Converts the types that YAML has and JSON does not.
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(v) for v in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        return str(value)
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def problems(text: str, kind: Kind) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings of a card, as `validate-yaml` answers them."""
    source, _ = split(text)
    if source is None or not source.strip():
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        data = _load(source)
    except ValueError as error:
        return [f"The metadata is no valid YAML: {error}"], []
    if not isinstance(data, dict):
        return ["The metadata must be a mapping of keys to values"], []
    errors = [f'"{key}" must be a string or a list of strings' for key in _LISTS if not _is_texts(data.get(key, []))]
    if "model-index" in data:
        errors += _model_index_problems(data["model-index"])
    errors += [
        f'"{key}" must be a string'
        for key in ("pipeline_tag", "library_name")
        if not isinstance(data.get(key, ""), str)
    ]
    if kind is Kind.SPACE:
        errors += _space_problems(data)
    return errors, []


def _space_problems(data: Mapping[str, Any]) -> list[str]:
    found = []
    if data.get("sdk") not in _SDKS:
        found.append(f'"sdk" must be one of [{", ".join(_SDKS)}]')
    for key in ("colorFrom", "colorTo"):
        if data.get(key, "red") not in _COLORS:
            found.append(f'"{key}" must be one of [{", ".join(_COLORS)}]')
    return found


def _model_index_problems(index: Any) -> list[str]:
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    found = []
    for i, model in enumerate(index):
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            found.append(f'"model-index[{i}].name" is required')
        elif not isinstance(model.get("results", []), list):
            found.append(f'"model-index[{i}].results" must be an array')
    return found


def _is_texts(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(v, str) or v is None for v in values)


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, str)]


def tags(card: Mapping[str, Any], sdk: str | None) -> list[str]:
    """Return the tags that a repo is listed under: those of its card, and those that other metadata imply."""
    found = _texts(card.get("library_name")) + _texts(card.get("pipeline_tag")) + ([sdk] if sdk else [])
    found += _texts(card.get("tags"))
    found += _texts(card.get("language"))
    found += [f"dataset:{name}" for name in _texts(card.get("datasets"))]
    found += [f"base_model:{name}" for name in _texts(card.get("base_model"))]
    found += [f"license:{name}" for name in _texts(card.get("license"))]
    return list(dict.fromkeys([*found, "region:local"]))
