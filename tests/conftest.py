"""What every test gets: a home of its own, no telemetry, no tokens, and no proxy in the way of loopback.

The environment is set before anything of ours is imported, because several libraries read theirs at import time.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from emulators.vertex.cloud import Cloud

REPO_ROOT = Path(__file__).resolve().parent.parent
HOME = Path(tempfile.mkdtemp(prefix="conceptry-tests-"))

# Folders whose files share a fixture that takes long: a Prefect server, or all of `conceptry up`.
DEAR = ("flows", "e2e")

LONGEST_FIRST = ("flows", "simulation", "e2e", "trainer", "templates", "emulators")

# What a person or a hook may have set, and a test must not see.
FOREIGN = ("CONCEPTRY_", "DVC_", "GIT_", "GRADIO_", "HF_", "HUGGING", "PREFECT_", "GOOGLE_", "XDG_")


def _isolate() -> None:
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            del os.environ[name]
    os.environ.update(
        {
            "HOME": str(HOME),
            "GIT_CONFIG_NOSYSTEM": "1",
            "HF_HOME": str(HOME / "huggingface"),
            "KERAS_HOME": str(HOME / "keras"),
            "PREFECT_HOME": str(HOME / "prefect"),
            "DVC_GLOBAL_CONFIG_DIR": str(HOME / "dvc-global"),
            "DVC_SYSTEM_CONFIG_DIR": str(HOME / "dvc-system"),
            "DVC_SITE_CACHE_DIR": str(HOME / "dvc-site"),
            # The emulated Hub has no Xet; nobody is told that we test.
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "DO_NOT_TRACK": "1",
            "DVC_NO_ANALYTICS": "1",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # Read when gcsfs is imported: on an emulator it would wait for ever for the bucket's layout.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
            # Quiet TensorFlow on the CPU, as in CI.
            "CUDA_VISIBLE_DEVICES": "",
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # Tests run side by side, one for each core: more threads would spin while they wait for each other.
            "OMP_NUM_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "1",
            "TF_NUM_INTRAOP_THREADS": "1",
        }
    )
    for variable in ("NO_PROXY", "no_proxy"):
        hosts = [os.environ.get(variable, ""), "127.0.0.1", "localhost"]
        os.environ[variable] = ",".join(host for host in hosts if host)
    (HOME / ".gitconfig").write_text(
        "[user]\n\tname = Tess Tester\n\temail = tess@example.org\n"
        "[init]\n\tdefaultBranch = main\n[commit]\n\tgpgSign = false\n[gc]\n\tauto = 0\n",
        encoding="utf-8",
    )


_isolate()

settings.register_profile("conceptry", max_examples=40, deadline=None, derandomize=True, database=None)
settings.load_profile("conceptry")


def pytest_configure(config: pytest.Config) -> None:
    """Warnings of other people's code that nothing here can mend, each with its reason."""
    for warning in (
        # huggingface_hub hands the bytes of LFS objects to httpx2 as data=.
        "ignore:Use 'content=<...>' to upload raw bytes/text content:DeprecationWarning",
        # fsspec's http file system leaves its session to the garbage collector when a server is gone.
        "ignore:Unclosed client session:ResourceWarning",
        "ignore:Unclosed connector:ResourceWarning",
    ):
        config.addinivalue_line("filterwarnings", warning)


class _TogetherScheduling(LoadScopeScheduling):
    """Gives a worker whole files, and whole folders where files share what is dear to make."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        folder = file.split("/")[1]
        return folder if folder in DEAR else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """How `pytest -n` shares the tests out: in the order of `pytest_collection_modifyitems`."""
    config.option.loadscopereorder = False
    return _TogetherScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that the workers end at about the same time."""
    folders = [REPO_ROOT / "tests" / name for name in LONGEST_FIRST]
    items.sort(key=lambda item: next((at for at, one in enumerate(folders) if one in item.path.parents), len(folders)))


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _logs_are_passed_on() -> None:
    """Undo what commands that ran in this process did: `cli.main` keeps the project's log off the terminal."""
    logging.getLogger("conceptry").propagate = True


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout that is tested."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def one_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Cloud"]:
    """Vertex AI and Cloud Storage for all tests; one only, because gRPC reads the certificates it trusts once."""
    from emulators.vertex.cloud import running
    from local.setup_folder import CLOUD_BUCKET, CLOUD_PROJECT

    names = {"project": CLOUD_PROJECT, "bucket": CLOUD_BUCKET}
    with running(tmp_path_factory.mktemp("cloud"), grace=2.0, **names) as cloud:
        os.environ.update(cloud.environment())
        yield cloud


@pytest.fixture
def cloud(one_cloud: "Cloud") -> Iterator["Cloud"]:
    """The cloud, in which nothing goes wrong until a test orders it."""
    yield one_cloud
    one_cloud.faults.clear()
    for job in one_cloud.jobs.live():
        raise AssertionError(f"a test left {job.display_name} running")
