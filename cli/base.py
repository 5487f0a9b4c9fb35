"""`conceptry base fetch`: bring a base model's weights here, once, for all trainings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from local.console import err
from conceptry.settings import PREFIX


def fetch(base_model: str, into: Path | None, *, clip: bool = False) -> int:
    """Fill a folder with the weights of a base model and return the exit code; without a folder, the settings' own."""
    variable = f"{PREFIX}BASE_DIR"
    configured = os.environ.get(variable)
    if into is None and not configured:
        err().print(f"Which folder? Give --into FOLDER, or set {variable}, where trainings look for weights.")
        return 2
    folder = into or Path(str(configured))
    command = [sys.executable, "-m", "trainer.fetch", "--base-model", base_model, "--into", str(folder)]
    command += ["--clip"] if clip else []
    code = subprocess.run(command, check=False).returncode
    if code == 0 and str(folder) != configured:
        err().print(f"Trainings find it with {variable}={folder.resolve()}")
    return code
