"""What a training said: the log of its run on the Prefect server, and the trainer's own output in the run's folder.

The trainer writes to `trainer.log` of the run's folder on the machine that trains; the log of the run has the steps,
and a failed run's message has the trainer's last lines, so that another machine can show them, too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from conceptry.errors import ConceptryError, UnknownConceptError
from conceptry.installation import Installation
from conceptry.isolation import printable
from tasks.git.desired_concepts import read_desired
from tasks.prefect_address import server_address

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

_PAGE = 200
"""Most lines that Prefect's server returns at once."""
_TAIL_BYTES = 1 << 18


@dataclass(frozen=True)
class RunSummary:
    """A training run: its id, name and state on the Prefect server, since when it has it, and the state's message."""

    id: str
    name: str
    state: str
    since: datetime | None
    message: str


@dataclass(frozen=True)
class TrainingOutput:
    """Output of one training, the oldest line first.

    Attributes:
        run: Its run; None without a Prefect server.
        log: Last lines of the run's log on the server: moment and text.
        file: The trainer's output on this machine; None if it trained elsewhere, or has not begun.
        lines: Last lines of that file.
    """

    run: RunSummary | None
    log: tuple[tuple[datetime, str], ...] = ()
    file: Path | None = None
    lines: tuple[str, ...] = ()


def training_output(
    installation: Installation, name: str, *, run: str | None = None, lines: int = 20
) -> TrainingOutput:
    """Return the output of a run of a concept.

    Args:
        installation: Installation, for the Prefect server and the scratch folder.
        name: The concept.
        run: Id or name of the run, or the begin of one; None for the newest.
        lines: Number of lines of each part.

    Raises:
        UnknownConceptError: no training of the concept was found.
        ConceptryError: the concept has no such run.
    """
    if server_address() is None:
        if run is not None:
            raise ConceptryError("runs are on the Prefect server, and none is configured", next_step="leave out --run")
        file = _newest_log(installation, name)
        if file is None:
            raise _never_trained(name)
        return TrainingOutput(None, file=file, lines=_tail(file, lines))
    from flows.training_runs import training_runs  # imports Prefect

    with training_runs(installation) as runs:
        chosen = _choose(runs.of_concept(name), name, run)
        log = _read_log(runs.client, chosen.id, lines)
    log_file = installation.work.run(str(chosen.parameters.get("fingerprint"))) / "trainer.log"
    file = log_file if log_file.is_file() else None
    return TrainingOutput(_summary(chosen), log, file, _tail(file, lines) if file else ())


def _choose(found: Collection[FlowRun], name: str, wanted: str | None) -> FlowRun:
    if not found:
        raise _never_trained(name)
    runs = list(found)
    if wanted is None:
        return runs[0]
    for one in runs:
        if str(one.id).startswith(wanted) or one.name in (wanted, f"{name} {wanted}"):
            return one
    known = ", ".join(str(one.id)[:8] for one in runs[:5])
    raise ConceptryError(f"has no run {printable(wanted)}", concept=name, next_step=f"its newest runs: {known}")


def _never_trained(name: str) -> UnknownConceptError:
    step = "`conceptry plan` says what would be done"
    return UnknownConceptError("no training of it was found", concept=name, next_step=step)


def _summary(run: FlowRun) -> RunSummary:
    state = run.state
    message = (state.message or "") if state else ""
    return RunSummary(str(run.id), run.name, run.state_name or "", state.timestamp if state else None, message)


def _read_log(client: SyncPrefectClient, run: UUID, count: int) -> tuple[tuple[datetime, str], ...]:
    """Return the last lines of a run's log."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    found: list[tuple[datetime, str]] = []
    while len(found) < count:
        page = min(_PAGE, count - len(found))
        lines = client.read_logs(of_run, offset=len(found), limit=page, sort=LogSort.TIMESTAMP_DESC)
        found += [(line.timestamp, line.message) for line in lines]
        if len(lines) < page:
            break
    return tuple(found[::-1])


def _newest_log(installation: Installation, name: str) -> Path | None:
    """Return the newest output of a trainer that learned the concept's token on this machine."""
    concept = read_desired(installation, only=name).concepts.get(name)
    token = concept.spec.placeholder_token if concept is not None and concept.spec is not None else None
    logs = [file for file in installation.work.runs.glob("*/trainer.log") if token is not None and _learns(file, token)]
    return max(logs, key=lambda file: file.stat().st_mtime, default=None)


def _learns(log: Path, token: str) -> bool:
    with suppress(OSError, ValueError, AttributeError):
        config = json.loads(log.with_name("config.json").read_text("utf-8"))
        return bool(config.get("placeholder_token") == token)
    return False


def _tail(file: Path, count: int) -> tuple[str, ...]:
    """Return the last lines of a file that are not empty, without what a progress bar overwrote."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    return tuple(list(_lines(text))[-count:])


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        last = line.rstrip().rsplit("\r", 1)[-1]
        if last.strip():
            yield printable(last)
