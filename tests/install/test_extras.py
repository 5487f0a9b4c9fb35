"""What a command says that needs a part which is not installed."""

import json
from pathlib import Path

import pytest

from cli.app import COMMANDS, GROUPS
from cli.requirements import REQUIREMENTS
from conceptry.errors import MissingExtraError
from tasks.extras import EXTRAS, extra_of, install_command, require


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which an installer leaves its notes."""
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def noted(prefix: Path, origin: object) -> None:
    """Note where the package came from, as installers do."""
    info = prefix / "conceptry-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: conceptry\nVersion: 0.1.0\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))


GIT = {"url": "https://git.example.org/conceptry.git", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}
WHEEL = {"url": "file:///tmp/conceptry-0.1.0-py3-none-any.whl", "archive_info": {}}


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (None, "'conceptry[all]'"),
        (WHEEL, "'conceptry[all] @ file:///tmp/conceptry-0.1.0-py3-none-any.whl'"),
        (GIT, f"'conceptry[all] @ git+https://git.example.org/conceptry.git@{'0' * 40}'"),
    ],
)
def test_the_command_installs_the_same_from_the_same_place(prefix: Path, origin: object, requirement: str) -> None:
    noted(prefix, origin)
    assert install_command("all").endswith(f" {requirement}")
    (prefix / "uv-receipt.toml").write_text("")
    assert install_command("all") == f"uv tool install --force --with-executables-from dvc {requirement}"
    with_s3 = f"uv tool install --force --with-executables-from dvc --with dvc-s3 {requirement}"
    assert install_command("all", also="dvc-s3") == with_s3


def test_with_pipx_it_is_pipx(prefix: Path) -> None:
    noted(prefix, None)
    (prefix / "pipx_metadata.json").write_text("{}")
    assert install_command("flows") == "pipx install --force 'conceptry[flows]'"
    assert install_command("flows", also="dvc-s3") == "pipx inject conceptry dvc-s3"


def test_a_checkout_is_synchronised(prefix: Path) -> None:
    noted(prefix, {"url": "file:///home/me/my%20checkout", "dir_info": {"editable": True}})
    assert install_command("all") == "uv sync --project '/home/me/my checkout' --all-extras"


def test_what_is_missing_is_named_with_the_command() -> None:
    require("`conceptry up`", "all", "json")
    with pytest.raises(MissingExtraError, match=r"`conceptry up` needs no_such_module; run `.*`"):
        require("`conceptry up`", "all", "json", "no_such_module")


def test_the_table_names_commands_and_extras_that_exist() -> None:
    names = {*COMMANDS, *(f"{group} {name}" for group, (_, commands) in GROUPS.items() for name in commands)}
    assert set(REQUIREMENTS) - names == set()
    for extra, *modules in REQUIREMENTS.values():
        assert extra in {"all", *EXTRAS}
        assert all(extra_of(module) for module in modules)
