"""Final state of a run that carried out a plan."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from conceptry.actions import Plan
from conceptry.plan_text import count


def final_state(
    plan: Plan, failures: Mapping[str, Exception], skipped: Mapping[str, str] = MappingProxyType({})
) -> State[Any]:
    """Return the final state of a run: Failed if an action failed; a concept that needs a user does not fail it.

    Args:
        plan: The plan that was carried out.
        failures: Exceptions by concept.
        skipped: Why actions were left for the next run, by concept, in words.
    """
    together: dict[str, list[str]] = {}
    for name, why in sorted(skipped.items()):
        together.setdefault(why, []).append(name)
    words = "; ".join(f"{', '.join(names)}: {why}" for why, names in together.items())
    left = f"; {len(skipped)} skipped until the next run ({words})" if skipped else ""
    if failures:
        words = "; ".join(f"{name}: {error}" for name, error in sorted(failures.items()))
        return Failed(message=f"{len(failures)} of {count(len(plan.changes), 'change')} failed: {words}{left}")
    later = len(plan.changes) - len(plan.due)
    degraded = sum(one.health == "Degraded" for one in plan.concepts)
    needed = f", {degraded} degraded" if degraded else ""
    waiting = f", {later} of them later" if later else ""
    counts = f"{count(len(plan.concepts), 'concept')}, {count(len(plan.changes), 'change')}"
    return Completed(message=f"{counts}{waiting}{needed}{left}")
