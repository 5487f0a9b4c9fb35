"""Render cards and templates to HTML. A card is untrusted input: its HTML is sanitized and contains no script."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import nh3
import yaml
from markdown_it import MarkdownIt
from starlette.responses import HTMLResponse

from emulators.hub import cards

TEMPLATES = Path(__file__).parent / "templates"
_MAX_CARD = 1 << 20
_UNITS = ((86_400 * 365, "year"), (86_400 * 30, "month"), (86_400, "day"), (3600, "hour"), (60, "minute"))
_ABSOLUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//|/|#")
_IMAGE = re.compile(r"!\[[^\]]*\]\(\s*<?([^)\s>]+)")
# Forbids scripts and other origins, so that even a flaw in the sanitizer could not run or send anything.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

_markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def card_html(text: str, repo_path: str, revision: str) -> str:
    """Render a card's Markdown as sanitized HTML; relative pictures and links point into this revision of the repo."""
    _, body = cards.split(text[:_MAX_CARD])

    def rewrite(element: str, attribute: str, value: str) -> str | None:
        if (element, attribute) == ("img", "src"):
            return address(repo_path, "resolve", revision, value)
        if (element, attribute) == ("a", "href"):
            return address(repo_path, "blob", revision, value)
        return value

    return nh3.clean(_markdown.render(body), attribute_filter=rewrite, url_schemes={"http", "https", "mailto"})


def address(repo_path: str, view: str, revision: str, path: str) -> str:
    """Resolve a relative link of a card; absolute ones are returned unchanged."""
    if _ABSOLUTE.match(path):
        return path
    return f"/{repo_path}/{view}/{quote(revision, safe='')}/{path.removeprefix('./')}"


def cover(text: str, files: set[str], *, repo_path: str, revision: str, default: str | None) -> str | None:
    """Return the URL of a repo's cover: the first picture of its card that this server has, else `default`."""
    for source in _IMAGE.findall(cards.split(text[:_MAX_CARD])[1]):
        inside = source.removeprefix("./")
        if inside in files:
            return address(repo_path, "resolve", revision, quote(inside))
        if source.startswith(f"/{repo_path}/resolve/"):
            return str(source)
    return address(repo_path, "resolve", revision, quote(default)) if default in files and default else None


def metadata_text(card: dict[str, Any]) -> str:
    """Format a card's metadata as YAML."""
    return yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a template."""
    return HTMLResponse(_environment.get_template(template).render(values), status_code=status, headers=PAGE_HEADERS)


def _size(count: int) -> str:
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _ago(when: datetime) -> str:
    seconds = max((datetime.now(UTC) - when).total_seconds(), 0)
    for length, unit in _UNITS:
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def segment(text: str) -> str:
    """Quote a text as one segment of a URL path."""
    return quote(text, safe="")


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_environment.filters.update(size=_size, ago=_ago, segment=segment, path=quote, yaml=metadata_text)
