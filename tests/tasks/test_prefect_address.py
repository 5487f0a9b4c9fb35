"""Whether a Prefect server is configured is found without importing Prefect, which takes more than a second."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import sys
from tasks.prefect_address import server_address
print(server_address(), "prefect" in sys.modules)
"""


def ask(folder: Path, repo_root: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    variables = kept | {"PREFECT_HOME": str(folder / "home"), "PYTHONPATH": str(repo_root)}
    command = [sys.executable, "-P", "-c", ASK]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("file", "content", "answer"),
    [
        ("pyproject.toml", '[project]\nname = "pets"\ndependencies = ["prefect>=3"]\n', "None False"),
        ("pyproject.toml", "no TOML", "None False"),
        ("pyproject.toml", '[tool.prefect]\napi.url = "http://127.0.0.1:1/api"\n', "http://127.0.0.1:1/api True"),
        ("prefect.toml", '[api]\nurl = "http://127.0.0.1:1/api"\n', "http://127.0.0.1:1/api True"),
        (".env", "PREFECT_API_URL=http://127.0.0.1:1/api\n", "http://127.0.0.1:1/api True"),
    ],
)
def test_a_server_is_found_where_prefect_would_find_it(
    file: str, content: str, answer: str, tmp_path: Path, repo_root: Path
) -> None:
    (tmp_path / file).write_text(content)
    assert ask(tmp_path, repo_root) == answer
