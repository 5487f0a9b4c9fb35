"""Front matter and Markdown for cards, with every string from concept.yaml escaped.

A title or a token is displayed literally, whatever it contains. Front matter is YAML for two parsers, PyYAML here
and the Hub's JavaScript parser; Markdown is CommonMark with GitHub's tables.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)


class _FrontMatterDumper(yaml.SafeDumper):
    """Dumper that quotes every string value: a word in YAML 1.1 may be a number in YAML 1.2 (0o17)."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - lists are indented
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - no anchors, whatever it is
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if re.fullmatch(r"[A-Za-z_][A-Za-z_-]*", text) and text.lower() not in _WORDS_OF_YAML:
        style = None
    else:
        # Single quotes leave emoji readable; only double quotes can escape what cannot be printed.
        style = "'" if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_WORDS_OF_YAML = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_FrontMatterDumper.add_representer(str, _represent_text)


def dump_front_matter(data: Mapping[str, Any]) -> str:
    """Return the block between `---` lines that starts a README.md on the Hub."""
    text = yaml.dump(dict(data), Dumper=_FrontMatterDumper, sort_keys=False, allow_unicode=True, width=2**31)
    return f"---\n{text}---\n"


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Split a README.md into front matter and body; the front matter is empty if it is missing or invalid."""
    normal = text.lstrip("\ufeff").replace("\r\n", "\n")
    match = _FRONT_MATTER.match(normal)
    if match is None:
        return {}, normal
    try:
        data = yaml.safe_load(match.group(1))
    except yaml.YAMLError:
        data = None
    return (data if isinstance(data, dict) else {}), normal[match.end() :]


def one_line(text: str) -> str:
    """Replace runs of white space and control characters by one space, so that the text stays on one line."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())


def plain(text: str) -> str:
    """Escape a string for Markdown text: no markup, HTML, link or mention results from it."""
    return _PUNCTUATION.sub(r"\\\1", one_line(text))


def code(text: str) -> str:
    """Return a code span, which may stand in a table's cell as well."""
    text = one_line(text).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text[:1] in ("`", "") or text[-1:] == "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def code_block(text: str, language: str = "") -> str:
    """Return a fenced code block; its fence is longer than any fence in the text."""
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def literal(text: str) -> str:
    """Return a one-line string literal that Python, JavaScript and JSON parse alike."""
    return json.dumps(text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the caller has escaped the cells (`plain`, `code`)."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
