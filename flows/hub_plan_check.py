"""Check of what the plan of the Hub's account will not allow, before a run meets it.

`whoami` of the Hub says of a user whether the account is PRO (`isPro`), of an organization which plan it has (`plan`,
`isEnterprise`), and of both whether they can pay (`canPay`). What a plan allows: docs/hub.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from conceptry.check import Check
from conceptry.concept import ConceptSpec
from conceptry.errors import ConceptryError
from conceptry.installation import HubTarget, Installation
from conceptry.space_settings import hardware
from tasks.git.desired_concepts import read_desired
from tasks.hub import HubSession, list_live
from tasks.hub.client import client, translate_errors
from tasks.hub.space_repo import FREE_HARDWARE

TITLE = "Hub plan"
SHOWN = 5
"""Maximum of concepts that are named."""


@dataclass(frozen=True)
class HubPlan:
    """Plan of the owner of the concepts' repos; a field that the Hub does not say is None.

    Attributes:
        words: Its name, as a user reads it.
        paid: Whether it is a paid one: PRO, Team or Enterprise.
        can_pay: Whether it has a way to pay for hardware.
    """

    words: str
    paid: bool | None = None
    can_pay: bool | None = None

    @property
    def apps(self) -> bool:
        """Whether the Hub creates Gradio Spaces for it, as far as is known."""
        return self.paid is not False


def read_account(target: HubTarget) -> dict[str, Any]:
    """Return what the Hub says of the account of a token.

    Raises:
        HubError, TransientError: the Hub refused the token, or could not be reached.
    """
    with translate_errors(target, "asking whose token it is"):
        return dict(client(target).whoami())


def plan_of(account: Mapping[str, Any], owner: str) -> HubPlan:
    """Return the plan of an owner, a user or an organization, from the Hub's answer about a member's token."""
    for one in account.get("orgs") or ():
        if str(one.get("name")).lower() == owner.lower():
            return _plan_of_organization(one)
    if "isPro" not in account:
        return HubPlan("unknown: the Hub does not say it")
    pro = bool(account["isPro"])
    return HubPlan("PRO" if pro else "a free account", pro, account.get("canPay"))


def _plan_of_organization(one: Mapping[str, Any]) -> HubPlan:
    if "plan" not in one and "isEnterprise" not in one:
        return HubPlan("an organization; the Hub does not say which plan it has", None, one.get("canPay"))
    plan = one.get("plan") or ("enterprise" if one.get("isEnterprise") else None)
    words = f"an organization with the plan {plan}" if plan else "a free organization"
    return HubPlan(words, bool(plan), one.get("canPay"))


def check_hub_plan(installation: Installation) -> Check:
    """Name the plan of the Hub's account, and the concepts whose Spaces it will not allow."""
    target = installation.hub
    if target.token is None:
        return Check(TITLE, True, "unknown without a token")
    # Other checks say what is wrong with the token, git or the Hub.
    try:
        plan = plan_of(read_account(target), target.owner)
    except ConceptryError:
        return Check(TITLE, True, "unknown, as the token could not be checked")
    limits = "" if plan.apps else ": new concepts get no Gradio Space (402), see docs/hub.md"
    fine = Check(TITLE, True, f"{target.owner} is {plan.words}{limits}")
    try:
        return _problem(installation, plan) or fine
    except ConceptryError:
        return fine


def _problem(installation: Installation, plan: HubPlan) -> Check | None:
    """Return what the plan will not allow to the concepts in git; None if there is nothing.

    Raises:
        ConceptryError: git or the Hub could not be read.
    """
    owner = installation.hub.owner
    specs = {
        name: concept.spec
        for name, concept in sorted(read_desired(installation).concepts.items())
        if concept.spec is not None and concept.spec.release != "none"
    }
    missing, unpaid = _refused(installation, plan, specs)
    if missing:
        found = f"{owner} is {plan.words}: the Hub creates no Gradio Space for it (402): {_few(missing)}"
        step = (
            "versions are published all the same; for Spaces, get PRO (a Team or Enterprise plan for an organization), "
            "or write `release: none`"
        )
        return Check(TITLE, False, found, step)
    if unpaid:
        found = f"{owner} has no way to pay for the hardware of the Spaces of {_few(unpaid)}"
        step = "add one in its billing settings, or write `space.hardware: cpu-basic`"
        return Check(TITLE, False, found, step)
    return None


def _refused(
    installation: Installation, plan: HubPlan, specs: Mapping[str, ConceptSpec]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the concepts without a Space, if the plan allows none, and those whose hardware cannot be paid."""
    missing: tuple[str, ...] = ()
    if not plan.apps and specs:
        live = list_live(HubSession(installation.hub), specs.keys()).concepts
        missing = tuple(name for name in specs if name not in live or live[name].space is None)
    rented = tuple(name for name, spec in specs.items() if hardware(spec) != FREE_HARDWARE)
    return missing, rented if plan.can_pay is False else ()


def _few(names: Iterable[str]) -> str:
    listed = tuple(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
