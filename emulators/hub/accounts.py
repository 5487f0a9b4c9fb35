"""Accounts, from a YAML file, and the authentication of requests by their tokens.

- name: anna
  fullname: Anna A.
  token: hf_...
  role: write            # or read
  plan: free             # or pro; without a plan nothing is limited (see plans)
  limits: {commits: 20}  # in place of single limits of the plan
  organizations:
    - {name: team, fullname: The Team, private_by_default: true, plan: team}   # or free, enterprise
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from emulators.hub.http_errors import HubError
from emulators.hub.names import RESERVED, is_repo_name
from emulators.hub.plans import RANK, UNLIMITED, OrganizationPlan, PlanLimits, UserPlan, limits_of


class Organization(BaseModel):
    """A namespace shared by accounts: every account that lists it may write in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Namespace, as in name/repo")
    fullname: str = Field(default="", description="Name for people")
    private_by_default: bool = Field(default=False, description="New repos are private unless asked otherwise")
    plan: OrganizationPlan | None = Field(default=None, description="Plan whose limits apply; none without one")
    limits: PlanLimits | None = Field(default=None, description="Limits in place of single ones of the plan")

    _name = field_validator("name")(lambda value: _checked(value))


class Account(BaseModel):
    """A user of the Hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="User name and namespace")
    fullname: str = Field(default="", description="Name for people")
    token: str = Field(min_length=4, repr=False, description="Access token, sent as `Authorization: Bearer`")
    role: Literal["read", "write"] = Field(default="write", description="What the token may do")
    plan: UserPlan | None = Field(default=None, description="Plan whose limits apply; none without one")
    limits: PlanLimits | None = Field(default=None, description="Limits in place of single ones of the plan")
    organizations: tuple[Organization, ...] = Field(default=(), description="Namespaces besides the user's own")

    _name = field_validator("name")(lambda value: _checked(value))

    def is_member(self, owner: str) -> bool:
        """Whether the account may see private repos of this owner and, with a write token, change its repos."""
        return owner.lower() in {self.name.lower(), *(o.name.lower() for o in self.organizations)}

    def organization(self, owner: str) -> Organization | None:
        """Return the organization of that name, if the account is a member."""
        return next((o for o in self.organizations if o.name.lower() == owner.lower()), None)

    def limits_in(self, owner: str) -> PlanLimits:
        """Return the limits of what a namespace holds; that of another account has none here."""
        organization = self.organization(owner)
        if organization is not None:
            return limits_of(organization.plan, organization.limits)
        return limits_of(self.plan, self.limits) if owner.lower() == self.name.lower() else UNLIMITED

    def rates(self) -> PlanLimits:
        """Return the limits of its requests and commits: those of its best plan, its own or an organization's."""
        if self.plan is None:
            return limits_of(None, self.limits)
        plans = [self.plan, *(o.plan for o in self.organizations if o.plan is not None)]
        return limits_of(max(plans, key=RANK.index), self.limits)


def _checked(name: str) -> str:
    if not is_repo_name(name) or name.lower() in RESERVED:
        raise ValueError(
            f"{name!r} cannot be a namespace: letters, digits, '-', '_' and '.', and none of {', '.join(RESERVED)}"
        )
    return name


@dataclass(frozen=True)
class Credentials:
    """The sender of a request; `sent_by_browser` marks Basic credentials and the session cookie."""

    account: Account | None = None
    sent_by_browser: bool = False


LOCAL = Account(name="local", fullname="This machine", token="hf_local")
LOCAL_READER = Account(name="local", fullname="This machine", token="hf_local_read", role="read")


class Accounts:
    """All accounts of a Hub; without a file there is one, `local`, with publicly known tokens that write and read."""

    def __init__(self, accounts: Iterable[Account] = (LOCAL, LOCAL_READER)) -> None:
        # A lookup by digest takes a time that says nothing about the tokens.
        self._by_digest = {_digest(a.token): a for a in accounts}

    @classmethod
    def load(cls, path: Path) -> Accounts:
        """Read an accounts file.

        Raises:
            ValueError: the file cannot be read, or its content is no list of accounts with different tokens.
        """
        try:
            accounts = TypeAdapter(list[Account]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"{path}: {problems}") from None
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from None
        if len({_digest(a.token) for a in accounts}) < len(accounts):
            raise ValueError(f"{path}: two accounts have the same token")
        return cls(accounts)

    def authenticate(self, header: str | None) -> Credentials:
        """Return the sender of a request from its Authorization header; without one the sender is anonymous.

        Raises:
            HubError: the header names no account (401).
        """
        if not header:
            return Credentials()
        scheme, _, value = header.partition(" ")
        token, sent_by_browser = value.strip(), scheme.lower() == "basic"
        if sent_by_browser:
            try:
                _, _, token = base64.b64decode(token, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                token = ""
        account = self._by_digest.get(_digest(token))
        if account is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return Credentials(account, sent_by_browser)

    def named(self, name: str) -> Account | None:
        """Return the account of a name (signed addresses hold names instead of tokens)."""
        return next((a for a in self._by_digest.values() if a.name == name), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
