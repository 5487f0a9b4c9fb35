"""python -m benchmarks.conformance [--folder .conformance] [PYTEST ARGUMENTS ...]

Run the tests in huggingface_hub's sdist, unmodified except for the server's address, against a local Hub with the
accounts that they expect. The client is the released one, in an environment of its own. `chosen.txt` lists the test
files, and the tests that are left out, with the reasons. A run takes one to three minutes after the first.

    make conformance
    make conformance ARGS="-k branch"
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
STAGING = "https://hub-ci.huggingface.co"
# Packages that the tests import besides the client; any version will do.
NEEDED = ("pytest>=8.4.2", "pytest-mock", "jinja2", "fastapi")
# Accounts of the staging Hub that the client's authors test against; the tokens are constants of their tests.
ACCOUNTS = """\
- name: __DUMMY_HUB_USER__
  fullname: Dummy User
  token: hf_HubCITokenXXXXXXXXXXXXXXXXXXXXX
  organizations: [{name: valid_org_hub, fullname: Dummy Hub Org}]
- name: DVUser
  token: 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
- name: EnterpriseAdmin
  token: hf_enterprise_admin_token
  organizations: [{name: EnterpriseOrgPrivate, private_by_default: true}]
"""


def prepare(folder: Path) -> tuple[Path, Path]:
    """Install the client and download its tests, once; return the environment's Python and the tests' folder."""
    version = importlib.metadata.version("huggingface_hub")
    python, source = folder / "venv" / "bin" / "python", folder / f"huggingface_hub-{version}"
    if not (folder / "venv" / version).exists():
        print(f"Installing huggingface_hub {version} and pytest into {folder / 'venv'} ...", flush=True)
        shutil.rmtree(folder / "venv", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        _pip(python, "install", f"huggingface_hub=={version}", *NEEDED)
        (folder / "venv" / version).touch()
    if not source.is_dir():
        _pip(
            python, "download", "--no-deps", "--no-binary", "huggingface_hub", f"huggingface_hub=={version}", cwd=folder
        )
        with tarfile.open(next(folder.glob(f"huggingface_hub-{version}.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
    return python, source / "tests"


def _pip(python: Path, *arguments: str, cwd: Path | None = None) -> None:
    pip = [str(python.absolute()), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *arguments], check=True, cwd=cwd)


def lay_out(tests: Path, suite: Path, url: str) -> None:
    """Copy the tests beside `suite_conftest.py`, replacing the staging server's URL."""
    shutil.rmtree(suite, ignore_errors=True)
    shutil.copytree(tests, suite / "tests")
    for path in (suite / "tests").glob("*.py"):
        path.write_text(path.read_text(encoding="utf-8").replace(STAGING, url), encoding="utf-8")
    (suite / "tests" / "__init__.py").touch()
    shutil.copyfile(HERE / "suite_conftest.py", suite / "tests" / "conftest.py")
    shutil.copyfile(HERE / "suite_pytest.ini", suite / "pytest.ini")


def chosen() -> tuple[list[str], list[str]]:
    """Return the test files to run, and pytest's options that deselect tests."""
    lines = (HERE / "chosen.txt").read_text(encoding="utf-8").splitlines()
    names = [line.split("#")[0].strip() for line in lines]
    run = [name for name in names if name and not name.startswith("-")]
    return run, [f"--deselect={name[1:].strip()}" for name in names if name.startswith("-")]


@contextlib.contextmanager
def hub() -> Iterator[str]:
    """Run a Hub while the block runs; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as root:
        accounts = Path(root) / "accounts.yaml"
        accounts.write_text(ACCOUNTS, encoding="utf-8")
        command = [sys.executable, "-m", "emulators.hub", "--root", f"{root}/hub", "--port", "0", "--no-run"]
        with subprocess.Popen([*command, "--accounts", str(accounts)], stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                yield server.stdout.readline().split()[1]
            finally:
                server.terminate()


def main() -> int:
    """Run the command line; return pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".conformance"), help="folder of the client and its tests")
    options, arguments = parser.parse_known_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    python, tests = prepare(options.folder)
    run, left_out = chosen()
    foreign = ("HF_", "HUGGING", "PYTEST_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    with hub() as url:
        lay_out(tests, options.folder / "suite", url)
        environment |= {"HF_ENDPOINT": url, "HF_TOKEN": "", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment |= {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "COLUMNS": "200"}
        command = [str(python.absolute()), "-m", "pytest", "-q", "--tb=short", "-rfE", *run, *left_out, *arguments]
        return subprocess.run(command, cwd=options.folder / "suite", env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
