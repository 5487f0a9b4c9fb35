"""Index of versions in the front matter of the card on main, bounded in size, so that a listing holds it.

    versions    the newest versions in full, as `Version.to_index` writes them
    older       one line for each older version: what a plan needs of it
    elsewhere   true if not even that fits, so that a reader needs versions.json

The Hub refuses a front matter above 64 kB. If `older` is there, the file versions.json on main holds all versions in
full. The fields of a line are separated by blanks: hexadecimal digests in base64, moments in seconds since 1970 in
base 36; `~` starts any other text, `-` is no value, `=N` the value of version N in that field.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from conceptry.errors import HubError
from conceptry.fingerprint import keys_digest
from conceptry.markdown import dump_front_matter
from conceptry.version import Thresholds, Version

IN_FULL = 16_000
"""Bytes for versions in full; more of them only if all fit."""
MOST = 60_000
"""Bytes for the whole index."""
FILE = "versions.json"
_FIELDS = (
    "gate",
    "gate_reason",
    "created",
    "fingerprint",
    "inputs",
    "commit",
    "dvc_md5",
    "retrain",
    "keys",
    "base",
    "judged",
)
_BASE = ("base_model", "base_digest", "recipe", "num_vectors")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class VersionIndex:
    """Index that was read from a card.

    Attributes:
        versions: Versions, sorted by number. Of older ones `spec` is incomplete, and `images`, the losses, scores
            and durations are missing; their `keys` is set.
        complete: Whether every version is in full, so that versions.json is not needed for anything.
        suffices: Whether a plan needs no more.
    """

    versions: tuple[Version, ...] = ()
    complete: bool = True
    suffices: bool = True


def dump_index(versions: Iterable[Version]) -> dict[str, Any]:
    """Return the index's keys in the card's front matter; without `older`, it holds everything."""
    ordered = sorted(versions, key=lambda version: version.number)
    count = _count_in_full(ordered)
    if count == len(ordered):
        return {"versions": [version.to_index() for version in ordered]}
    for kept in (max(count, 1), 1, 0):
        split = len(ordered) - kept
        index = {"versions": [version.to_index() for version in ordered[split:]], "older": _lines(ordered[:split])}
        if _size(index) <= MOST:
            return index
    return {"versions": [], "elsewhere": True}


def parse_index(data: Mapping[str, Any]) -> VersionIndex:
    """Parse what `dump_index` returned, or the index of an older release, which lists all versions in full.

    Raises:
        HubError: it was edited manually.
    """
    entries, lines, elsewhere = data.get("versions") or [], data.get("older") or [], bool(data.get("elsewhere"))
    if not isinstance(entries, list) or not isinstance(lines, list):
        raise _unreadable("it is no list")
    versions = [Version.from_index(entry) for entry in entries]
    versions += _parse_lines(lines)
    ordered = tuple(sorted(versions, key=lambda version: version.number))
    # The newest one is compared with the desired state, image by image.
    suffices = not elsewhere and (not ordered or ordered[-1].keys is None)
    return VersionIndex(ordered, not lines and not elsewhere, suffices)


def dump_file(name: str, versions: Iterable[Version]) -> bytes:
    """Return versions.json: every version in full."""
    ordered = sorted(versions, key=lambda version: version.number)
    document = {"concept": name, "versions": [version.to_index() for version in ordered]}
    return (json.dumps(document, indent=1) + "\n").encode()


def parse_file(content: bytes | None) -> tuple[Version, ...] | None:
    """Parse versions.json; None if it is missing or was edited so that it cannot be read."""
    try:
        document = json.loads(content or b"null")
        return parse_index(document).versions if isinstance(document, dict) else None
    except (ValueError, HubError):
        return None


def _count_in_full(ordered: Sequence[Version]) -> int:
    """Return how many of the newest versions fit into IN_FULL; one is measured after the other, as that takes long."""
    room = IN_FULL
    for count, version in enumerate(reversed(ordered)):
        room -= _size({"versions": [version.to_index()]})
        if room < 0:
            return count
    return len(ordered)


def _size(index: Mapping[str, Any]) -> int:
    """Return the bytes of an index at its place in the front matter."""
    return len(dump_front_matter({"conceptry": index}).encode())


def _lines(versions: Sequence[Version]) -> list[str]:
    first: dict[tuple[str, str], int] = {}
    lines = []
    for version in versions:
        words = []
        for field, word in zip(_FIELDS, _words(version), strict=True):
            number = first.setdefault((field, word), version.number)
            reference = f"={number}"
            words.append(reference if number != version.number and len(reference) < len(word) else word)
        lines.append(f"{version.number} {' '.join(words)}")
    return lines


def _words(version: Version) -> list[str]:
    known = all(key in version.spec for key in _BASE)
    base = "/".join(_pack(str(version.spec[key])) for key in _BASE) if known else "-"
    keys = keys_digest(version.spec) if version.keys is None else version.keys
    inputs = "-" if version.inputs == version.fingerprint else _pack(version.inputs)
    listing = _pack(version.dvc_md5.removesuffix(".dir")) + ("" if version.dvc_md5.endswith(".dir") else ":")
    return [
        version.gate,
        version.gate_reason or "-",
        _pack_moment(version.created),
        _pack(version.fingerprint),
        inputs,
        _pack(version.commit),
        listing,
        version.retrain or "-",
        _pack(keys) if keys else "-",
        base,
        _pack_thresholds(version.judged),
    ]


def _parse_lines(lines: Sequence[object]) -> list[Version]:
    known: dict[tuple[str, str], str] = {}
    versions = []
    for line in lines:
        number, *words = str(line).split(" ")
        # Lines of before thresholds were recorded lack the last field.
        words += ["-"] * (len(words) == len(_FIELDS) - 1)
        if len(words) != len(_FIELDS):
            raise _unreadable(f"a line has {len(words)} fields")
        values = {}
        for field, word in zip(_FIELDS, words, strict=True):
            value = known.get((field, word[1:])) if word.startswith("=") else word
            if value is None:
                raise _unreadable(f"version {word[1:]} is missing")
            values[field] = known[field, number] = value
        versions.append(_version(number, values))
    return versions


def _version(number: str, values: Mapping[str, str]) -> Version:
    try:
        found = {field: None if value == "-" else value for field, value in values.items()}
        fingerprint, listing = _unpack(values["fingerprint"]), values["dvc_md5"]
        entry = {
            "number": int(number),
            "fingerprint": fingerprint,
            "inputs": _unpack(found["inputs"]) if found["inputs"] else fingerprint,
            "commit": _unpack(values["commit"]),
            "dvc_md5": _unpack(listing[:-1]) if listing.endswith(":") else f"{_unpack(listing)}.dir",
            "created": _unpack_moment(values["created"]),
            "spec": _parse_base(found["base"]),
            "keys": _unpack(found["keys"]) if found["keys"] else "",
            "judged": _parse_thresholds(found["judged"]),
        }
    except (ValueError, binascii.Error) as error:
        raise _unreadable(str(error)) from None
    return Version.from_index({**entry, **{key: found[key] for key in ("gate", "gate_reason", "retrain")}})


def _parse_base(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    model, digest, recipe, vectors = (_unpack(part) for part in text.split("/"))
    return {"base_model": model, "base_digest": digest, "recipe": int(recipe), "num_vectors": int(vectors)}


def _pack_thresholds(judged: Thresholds | None) -> str:
    return "/".join("" if value is None else repr(value) for value in astuple(judged)) if judged else "-"


def _parse_thresholds(text: str | None) -> dict[str, float | None] | None:
    if text is None:
        return None
    return {
        field.name: float(word) if word else None
        for field, word in zip(fields(Thresholds), text.split("/"), strict=True)
    }


def _pack(text: str) -> str:
    return _encode(bytes.fromhex(text)) if _HEX.fullmatch(text) else _literal(text)


def _literal(text: str) -> str:
    """Return a word for a text of another form than its field usually has."""
    return f"~{_encode(text.encode())}"


def _unpack(word: str) -> str:
    return _decode(word[1:]).decode() if word.startswith("~") else _decode(word).hex()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(word: str) -> bytes:
    return base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)


def _pack_moment(text: str) -> str:
    seconds = int(datetime.fromisoformat(text).timestamp())
    if seconds < 0 or _moment(seconds) != text:
        return _literal(text)
    digits = ""
    while seconds:
        seconds, digit = divmod(seconds, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"


def _unpack_moment(word: str) -> str:
    return _unpack(word) if word.startswith("~") else _moment(int(word, 36))


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _unreadable(why: str) -> HubError:
    return HubError(
        f"the card's index of versions cannot be read: {why}",
        next_step="restore the README.md of the model repo's main branch",
    )
