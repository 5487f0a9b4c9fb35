"""Plans of accounts and organizations: what the real Hub lets them do, and how often.

An account or organization without a plan has no limits. A plan's numbers are those that hf.co documents, or that its
answers name; they change, so the accounts file may replace each of them (`limits:`).

    requests     https://huggingface.co/docs/hub/rate-limits (September 2025), per five minutes
    Spaces       https://huggingface.co/docs/hub/spaces-overview: since July 2026, Spaces with an app need a plan
    storage      https://huggingface.co/docs/hub/storage-limits, of private repos; one seat of an organization
    commits      not documented; what answers named to users: 128, 256 and 320 per hour
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

UserPlan = Literal["free", "pro"]
OrganizationPlan = Literal["free", "team", "enterprise"]
_GB, _TB = 10**9, 10**12


class PlanLimits(BaseModel):
    """Limits of a plan; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api: int | None = Field(default=None, ge=0, description="Requests to the API per window")
    resolvers: int | None = Field(default=None, ge=0, description="Requests for files (`/resolve/`) per window")
    pages: int | None = Field(default=None, ge=0, description="Requests for pages per window")
    window: int = Field(default=300, ge=1, description="Length of a window, in seconds")
    commits: int | None = Field(default=None, ge=0, description="Commits per hour")
    private_bytes: int | None = Field(default=None, ge=0, description="Bytes of all private repos together")
    app_spaces: bool = Field(default=True, description="Whether Gradio and Docker Spaces may be created")
    can_pay: bool = Field(default=True, description="Whether hardware can be rented")

    def replaced_by(self, given: PlanLimits | None) -> PlanLimits:
        """Return these limits with those that were given explicitly."""
        return self if given is None else self.model_copy(update=given.model_dump(exclude_unset=True))


UNLIMITED = PlanLimits()
_TEAM = PlanLimits(api=3000, resolvers=20_000, pages=400, commits=320, private_bytes=_TB)
PLANS: dict[str, PlanLimits] = {
    "free": PlanLimits(
        api=1000, resolvers=5000, pages=200, commits=128, private_bytes=100 * _GB, app_spaces=False, can_pay=False
    ),
    "pro": PlanLimits(api=2500, resolvers=12_000, pages=400, commits=256, private_bytes=_TB),
    "team": _TEAM,
    "enterprise": _TEAM.model_copy(update={"api": 6000, "resolvers": 50_000, "pages": 600}),
}
RANK = ("free", "pro", "team", "enterprise")
"""Plans by their rates, the lowest first."""


def limits_of(plan: str | None, given: PlanLimits | None) -> PlanLimits:
    """Return the limits of a plan, some of them replaced; without a plan, only those that were given."""
    return (UNLIMITED if plan is None else PLANS[plan]).replaced_by(given)
