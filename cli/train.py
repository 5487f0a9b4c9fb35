"""`conceptry train`: train one concept now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from cli.options import Name, Root
from conceptry.errors import ConceptryError
from conceptry.isolation import printable
from conceptry.version_ref import concept_name
from local.console import out
from local.current_setup import open_running
from local.prefect_settings import prefect_of

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

_LOOK_EVERY = 1.0


def command(
    name: Name,
    root: Root = None,
) -> None:
    """Train, judge and publish one concept now, as it is in git, without waiting for the watcher.

    With a Prefect server (PREFECT_API_URL) the training is a run there, else it happens in this process. A concept
    whose inputs are already published is not trained again.
    """
    console = out()
    with open_running(root) as installation, prefect_of(root):
        # Imported here: Prefect takes longer than to find that the servers are away.
        from flows.train_concept import schedule_training, train_in_process
        from tasks.prefect_address import server_address

        concept_name(name)
        if server_address() is None:
            version = train_in_process(installation, name)
            published = f"{name} {version} is published. `conceptry versions {name}` shows its gate."
            console.print(published if version else _nothing_to_train(name))
            return
        run = schedule_training(installation, name)
        if run is None:
            console.print(_nothing_to_train(name))
        else:
            _follow(run, console)


def _nothing_to_train(name: str) -> str:
    return f"{name}: nothing to train, the version of these inputs is published. `conceptry versions {name}` shows it."


def _follow(run: FlowRun, console: Console) -> None:
    """Print the run's log until it ends; Ctrl-C ends the output, not the run."""
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    console.print(f"Run [bold]{run.name}[/]: {get_current_settings().ui_url or ''}/runs/flow-run/{run.id}")
    try:
        with get_client(sync_client=True) as client:
            ended = _print_log(client, run, console)
    except KeyboardInterrupt:
        console.print("Stopped following; the run continues.")
        raise
    state: Any = ended.state
    if state is None or not state.is_completed():
        raise ConceptryError(f"run {run.name} ended as {ended.state_name}: {state.message if state else ''}")


def _print_log(client: SyncPrefectClient, run: FlowRun, console: Console) -> FlowRun:
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    shown = 0
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    while True:
        now = client.read_flow_run(run.id)
        while lines := client.read_logs(of_run, offset=shown, limit=100, sort=LogSort.TIMESTAMP_ASC):
            shown += len(lines)
            for line in lines:
                said = Text(f"{line.timestamp:%H:%M:%S} ", style="dim") + Text(printable(line.message))
                console.print(said, soft_wrap=True)
        if now.state is not None and now.state.is_final():
            return now
        time.sleep(_LOOK_EVERY)
