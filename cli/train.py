"""`conceptry train`: one concept now."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.console import out
from conceptry.errors import ConceptryError
from local.setup_folder import load_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from rich.console import Console

_LOOK_EVERY = 1.0


def train_now(root: Path | None, name: str) -> None:
    """Train one concept through the configured Prefect server, else in this process, and follow it to its end.

    Raises:
        ConceptryError: it cannot be trained, or the training failed.
    """
    settings = load_settings(root)
    console = out()
    from prefect.settings import get_current_settings

    from flows import train_concept

    if get_current_settings().api.url is None:
        version = train_concept.train_here(settings, name)
        done = (
            f"{name} {version} is published. `conceptry versions {name}` shows how it was judged." if version else None
        )
        console.print(done or _nothing_to_train(name))
        return
    run = train_concept.train_now(settings, name)
    if run is None:
        console.print(_nothing_to_train(name))
    else:
        _follow(run, console)


def _nothing_to_train(name: str) -> str:
    return f"{name}: nothing to train, the version of these inputs is published. `conceptry versions {name}` shows it."


def _follow(run: FlowRun, console: Console) -> None:
    """Print the run's log as it grows; Ctrl-C leaves the run going."""
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    console.print(f"Run [bold]{run.name}[/]: {get_current_settings().ui_url or ''}/runs/flow-run/{run.id}")
    try:
        with get_client(sync_client=True) as client:
            ended = _print_log(client, run, console)
    except KeyboardInterrupt:
        console.print("Not followed any longer; the run goes on.")
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
                console.print(f"[dim]{line.timestamp:%H:%M:%S}[/]", line.message, markup=True, soft_wrap=True)
        if now.state is not None and now.state.is_final():
            return now
        time.sleep(_LOOK_EVERY)
