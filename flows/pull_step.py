"""Pull step of the deployments: what happens on a worker before a run starts.

A deployment names its flow by module (`flows.watch.watch`), not by a path, so that a run on another machine, at another
path, or as another user needs no checkout of whoever deployed. It runs the code that is installed beside the worker, or
a clone of CONCEPTRY_CODE. Prefect carries the step out in a process of its own, in an empty folder, and puts the folder
that the step returns first on the module path of the run and of the processes that the run starts.
"""

import os
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.states import Failed

from conceptry.errors import ConceptryError, SettingsError
from conceptry.installation import Installation
from conceptry.settings import Settings
from flows.current_installation import build_installation
from flows.training_states import INTERRUPTED
from tasks.git import is_local
from tasks.git.git_program import run_git

CLONE_SECONDS = 600.0
CODE = "code"


def pull_step() -> dict[str, str]:
    """Check the settings of this worker, and clone the code if CONCEPTRY_CODE names a repo.

    Returns:
        `directory`: the working directory of the run.

    Raises:
        ConceptryError: settings are missing or wrong, or the repo cannot be cloned; the run fails with its message.
    """
    try:
        settings = worker_installation().settings
        folder = Path.cwd() if settings.code is None else clone_code(settings, Path.cwd() / CODE)
    except ConceptryError as error:
        _fail_run(error)
        raise
    return {"directory": str(folder)}


def worker_installation() -> Installation:
    """Return the installation of a worker, from the environment.

    Raises:
        SettingsError: settings are missing or wrong, a path is relative, or the work folder is not set: a run starts in
            a folder that is deleted after it.
    """
    installation = build_installation(Settings())
    settings = installation.settings
    problems = [] if "work" in settings.model_fields_set else ["CONCEPTRY_WORK is missing"]
    paths = {"CONCEPTRY_BASE_DIR": settings.base_dir, "CONCEPTRY_VERTEX_PRICES": installation.vertex_basics.prices}
    if is_local(settings.repo):
        paths["CONCEPTRY_REPO"] = Path(settings.repo).expanduser()
    problems += [f"{name} is a relative path" for name, path in paths.items() if path and not path.is_absolute()]
    if problems:
        raise SettingsError(
            f"settings are not usable on a worker: {', '.join(problems)}",
            next_step="set absolute paths in the worker's environment, for example "
            "CONCEPTRY_WORK=/var/lib/conceptry/work, and start it again",
        )
    return installation


def clone_code(settings: Settings, folder: Path) -> Path:
    """Clone the head of the branch of the code into a folder that does not exist, and return the folder.

    Raises:
        SettingsError: the login is refused, or the branch has no code of Conceptry. TransientError: git failed.
    """
    address = settings.code or ""
    arguments = ("--quiet", "--depth=1", "--branch", settings.code_branch, "--", address, str(folder))
    try:
        run_git("clone", *arguments, timeout=CLONE_SECONDS, address=address, login=settings.code_login)
    except ConceptryError as error:
        error.next_step = (error.next_step or "").replace("CONCEPTRY_REPO", "CONCEPTRY_CODE")
        raise
    if not (folder / "flows" / "pull_step.py").is_file():
        raise SettingsError(
            f"{address} has no code of Conceptry in its branch {settings.code_branch}",
            next_step="correct CONCEPTRY_CODE and CONCEPTRY_CODE_BRANCH, or unset them",
        )
    return folder


def _fail_run(error: ConceptryError) -> None:
    """Set the current run to Failed with a message; Prefect would set it to Crashed, and the message is in no log."""
    run = os.environ.get("PREFECT__FLOW_RUN_ID")
    if run is None:
        return
    name = INTERRUPTED if error.retryable else None
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(run), Failed(name=name, message=" ".join(str(error).split())), force=True)
