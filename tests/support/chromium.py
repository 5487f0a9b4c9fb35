"""Chromium for the tests that open pages; they are skipped without one (Debian: `apt-get install chromium`)."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def page_text(url: str, profile: Path) -> str:
    """Open a page and return its document after all scripts."""
    flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=25000 --dump-dom"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={profile}", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
