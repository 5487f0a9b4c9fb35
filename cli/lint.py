"""`conceptry lint`: what is wrong with the concepts of this checkout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from local.console import out
from local.setup_folder import load_settings

if TYPE_CHECKING:
    from conceptry.settings import Settings
    from flows.lint import Finding


def run(root: Path | None, *, remote: bool, strict: bool, form: str) -> int:
    """Print all findings; 0 when there is no error (with `strict`, also no warning), else 1."""
    from flows.lint import find_top, lint

    findings = lint(find_top(Path.cwd()), _settings(root), remote=remote)
    FORMATS[form](findings)
    errors = sum(finding.level == "error" or strict for finding in findings)
    return 1 if errors else 0


def _settings(root: Path | None) -> Settings | None:
    """Where the Hub is, if that is known: without it lint looks at git and DVC alone."""
    from conceptry.errors import SettingsError

    try:
        return load_settings(root)
    except SettingsError:
        if root is not None:
            raise
        return None


def _text(findings: list[Finding]) -> None:
    styles = {"error": "red", "warning": "yellow"}
    console = out()
    for finding in findings:
        console.print(Text(str(finding), style=styles[finding.level]), soft_wrap=True)
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    console.print(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}." if findings else "No mistake found.")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _json(findings: list[Finding]) -> None:
    sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False) + "\n")


def _github(findings: list[Finding]) -> None:
    """Workflow commands, which GitHub shows beside the lines of a pull request."""
    for finding in findings:
        line = f",line={finding.line}" if finding.line else ""
        place = _property(finding.file)
        sys.stdout.write(f"::{finding.level} file={place}{line}::{_escaped(finding.message)}\n")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: dict[str, Callable[[list[Finding]], None]] = {"text": _text, "json": _json, "github": _github}
