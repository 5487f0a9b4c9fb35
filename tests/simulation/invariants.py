"""What must hold in a simulated world, at every moment and in the end."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from google.cloud.aiplatform_v1.types import CustomJob
from huggingface_hub.errors import HfHubHTTPError
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

from conceptry.actions import ConceptPlan
from tests.simulation.simulated_cloud import FOREIGN, NAMES
from tests.simulation.simulated_world import Hidden, SimulatedWorld

WATCHES = 4
"""Watches that may fail one after the other, on hosts that reach everything, before a concept must be hidden."""


class Violation(AssertionError):
    """An invariant does not hold; the first word says which."""


class Invariants:
    """Invariants of one world; `seen_hidden` counts the concepts that were seen hidden in time."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self.versions: dict[tuple[str, str], str] = {}
        self.seen_hidden = 0

    def observe(self) -> None:
        """Look at what must hold at every moment.

        Raises:
            Violation: it does not.
        """
        self._see_versions()
        self._see_hidden()
        self._see_jobs()
        if self._world.foreign_state() != self._world.foreign:
            raise Violation("foreign: a repo of somebody else has changed")

    def check(self) -> None:
        """Look at what must hold when nothing is left to do.

        Raises:
            Violation: it does not.
        """
        self.observe()
        if self._world.hidden:
            raise Violation(f"hidden: no watch reached everything: {self._world.hidden}")
        self._check_cancelled()
        for (name, branch), commit in self.versions.items():
            if self._world.branches(name).get(branch) != commit:
                raise Violation(f"versions: {name} {branch} is lost")
        for name in NAMES:
            self._check_concept(name)

    def _see_versions(self) -> None:
        """No version gets another number, or another content."""
        for name in NAMES:
            for branch, commit in self._world.branches(name).items():
                known = self.versions.setdefault((name, branch), commit)
                if known != commit:
                    raise Violation(f"versions: {name} {branch} was {known[:8]}, and is {commit[:8]}")

    def _see_hidden(self) -> None:
        """What git hides is hidden within one watch of a host that reaches everything."""
        ended = [(host, watch) for host in self._world.hosts for watch in host.ended_watches()]
        for hidden in list(self._world.hidden):
            for host, watch in ended:
                since = max(hidden.since, host.disturbed, self._world.disturbed)
                if watch["begin"] > since and not host.network.is_cut and hidden in self._world.hidden:
                    self._see_one(hidden, f"a watch of {host.name}", ended=watch["status"] == 0)

    def _see_one(self, hidden: Hidden, by: str, *, ended: bool) -> None:
        if self._is_hidden(hidden):
            self._world.hidden.remove(hidden)
            self.seen_hidden += 1
            return
        hidden.failed += 1
        if ended or hidden.failed > WATCHES:
            raise Violation(f"hidden: {hidden.name} ({hidden.what}) is shown after {by}")

    def _is_hidden(self, hidden: Hidden) -> bool:
        api, found = self._world.registry.api(), []
        for kind in ("model", "space"):
            with suppress(HfHubHTTPError):
                found.append(api.repo_info(f"local/{hidden.name}", repo_type=kind))
        if hidden.what == "private":
            return all(info.private for info in found)
        runtimes = [runtime for info in found if (runtime := getattr(info, "runtime", None))]
        return all(runtime.stage == "PAUSED" for runtime in runtimes)

    def _see_jobs(self) -> None:
        """No job twice at one time, nothing paid twice, and no job lost while it was wanted."""
        may_end = {fingerprint[:63] for fingerprint in {*self._world.cancelled.values(), *self._world.unwanted}}
        for fingerprint, jobs in by_fingerprint(self._world.jobs()).items():
            spans = sorted((job.start_time, job.end_time) for job in jobs if job.start_time and job.end_time)
            states = [job.state.name.removeprefix("JOB_STATE_") for job in jobs]
            running, succeeded = states.count("RUNNING"), states.count("SUCCEEDED")
            if running > 1 or any(before[1] > after[0] for before, after in pairwise(spans)):
                raise Violation(f"jobs: two at one time for {fingerprint[:8]}: {states}")
            if succeeded > 1:
                raise Violation(f"jobs: paid twice for {fingerprint[:8]}: {states}")
            if "FAILED" in states:
                raise Violation(f"jobs: {fingerprint[:8]}: {states}")
            ran = [job for job in jobs if job.start_time and job.state.name == "JOB_STATE_CANCELLED"]
            if ran and fingerprint not in may_end:
                raise Violation(f"jobs: cancelled while it was wanted: {fingerprint[:8]}: {states}")

    def _check_cancelled(self) -> None:
        """No run that a person cancelled came back."""
        with get_client(sync_client=True) as client:
            for run in self._world.runs():
                if str(run.id) not in self._world.cancelled:
                    continue
                states = sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
                types = [state.type for state in states]
                first = min(types.index(kind) for kind in (StateType.CANCELLING, StateType.CANCELLED) if kind in types)
                if set(types[first:]) & {StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING}:
                    raise Violation(f"cancelled: {run.name} came back: {[state.name for state in states]}")

    def _check_concept(self, name: str) -> None:
        """A concept of git has one version of its inputs and serves what git says; others serve nothing."""
        served = self._world.served(name)
        if name not in self._world.names():
            if served:
                raise Violation(f"served: {name} is not in git, and serves {served}")
            return
        fingerprint = self._world.fingerprint(name)
        versions = self._world.registry.there(name).versions
        for version in versions:
            if abs(datetime.now(UTC) - datetime.fromisoformat(version.created)) > timedelta(hours=1):
                raise Violation(f"versions: {name} {version.name} says that it was made {version.created}")
        made = [version.name for version in versions if version.fingerprint == fingerprint]
        if len(made) != 1 and (made or not self._world.is_cancelled(fingerprint)):
            raise Violation(f"versions: {name} has {len(made)} of its inputs")
        if self._world.spec(name).get("release") == "none":
            made = [""]
        if made and (served or "") != made[0]:
            raise Violation(f"served: {name} serves {served}, and not {made[0] or 'nothing'}")


def by_fingerprint(jobs: list[CustomJob]) -> Mapping[str, list[CustomJob]]:
    """Return jobs by the label of their fingerprint, which lacks its last digit."""
    found: dict[str, list[CustomJob]] = {}
    for job in jobs:
        found.setdefault(job.labels["conceptry_fingerprint"], []).append(job)
    return found


def left_to_do(planned: ConceptPlan, is_cancelled: Callable[[str | None], bool]) -> str | None:
    """Return what the plan has left to do about a concept; None if it is as git says, or as a person decided."""
    serving, training = planned.serving, planned.training
    if planned.concept == FOREIGN:
        reasons = {serving.reason, training.reason}
        return None if reasons & {"NameTaken", "Archived"} else f"{serving.reason}, {training.reason}"
    if str(serving.kind) != "nothing":
        return f"{serving.kind} {serving.reason} {serving.deferred or ''}"
    finished = str(training.kind) == "nothing" and training.health != "Progressing"
    stopped = training.reason in ("TrainingCancelled", "TrainingFailed") and is_cancelled(training.fingerprint)
    return None if finished or stopped else f"{training.kind} {training.reason} {training.deferred or training.cause}"
