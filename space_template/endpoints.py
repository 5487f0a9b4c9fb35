"""Inference Endpoints of the visitor's account: look up machines; create, watch, call and delete endpoints.

The token comes in with each call and goes out with it: it is neither kept nor logged, and never part of an answer.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from huggingface_hub import HfApi, InferenceEndpoint, InferenceEndpointHardware, constants
from huggingface_hub.errors import HfHubHTTPError

from space_template.settings import SpaceSettings

SECURITY = ("authenticated", "public", "private")
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
ENDPOINTS_API_VARIABLE = "CONCEPTRY_ENDPOINTS_API"
HUB = "https://huggingface.co"
SCALE_TO_ZERO_MINUTES = 15
FAILED = frozenset({"failed", "updateFailed"})
_CALL_SECONDS = 180.0


class Refused(Exception):
    """The API, or a check before it, said no; the message says why in words, and never holds the token."""


@dataclass(frozen=True)
class Account:
    """A token's user: `namespaces` are theirs and their organizations', `hardware` what they can rent."""

    namespaces: tuple[str, ...]
    hardware: tuple[InferenceEndpointHardware, ...]


@dataclass(frozen=True)
class Order:
    """An order for one endpoint. `hardware` is an id of the list that the API gave."""

    name: str
    namespace: str
    hardware: str
    min_replica: int
    max_replica: int
    security: str


@dataclass(frozen=True)
class Progress:
    """Where an order is: the API's state in words, and the address as soon as there is one."""

    state: str
    text: str
    url: str | None = None

    @property
    def running(self) -> bool:
        """Whether it can be called."""
        return self.state == "running" and self.url is not None

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.running or self.state in FAILED or self.state in ("paused", "scaledToZero")


def look_up(token: str) -> Account:
    """Look up who a token belongs to, and the machines and prices that the Endpoints API offers them.

    Raises:
        Refused: the token is missing or not taken, or the API cannot be reached.
    """
    with _in_words(token):
        api = _api(token)
        user = api.whoami()
        spaces = (str(user["name"]), *(str(org["name"]) for org in user.get("orgs") or ()))
        return Account(spaces, tuple(_hardware(api, spaces[0])))


def _hardware(api: HfApi, namespace: str) -> Iterator[InferenceEndpointHardware]:
    for machine in api.list_inference_endpoints_hardware(namespace=namespace):
        if machine.status != "deprecated" and machine.accelerator in ("cpu", "gpu"):
            yield machine


def create(
    order: Order, hardware: Sequence[InferenceEndpointHardware], settings: SpaceSettings, token: str
) -> Progress:
    """Create an endpoint from the exact revision that this Space serves.

    Raises:
        Refused: the order has mistakes (all of them are named), or the API does not take it.
    """
    machine = next((machine for machine in hardware if machine.id == order.hardware), None)
    found = problems(order, machine, settings)
    if found or machine is None:
        raise Refused(" ".join(found))
    with _in_words(token, order.name, order.namespace):
        made = _api(token).create_inference_endpoint(
            order.name,
            repository=settings.model_repo,
            revision=settings.revision,
            framework="custom",
            task="custom",
            accelerator=machine.accelerator,
            vendor=machine.vendor,
            region=machine.region,
            instance_type=machine.instance_type,
            instance_size=machine.instance_size,
            min_replica=order.min_replica,
            max_replica=order.max_replica,
            scale_to_zero_timeout=SCALE_TO_ZERO_MINUTES if order.min_replica == 0 else None,
            type=order.security,
            namespace=order.namespace or None,
        )
    return progress_of(made)


def problems(order: Order, machine: InferenceEndpointHardware | None, settings: SpaceSettings) -> list[str]:
    """List everything that is wrong with an order, before the API is called."""
    found = []
    if settings.revision is None:
        found.append("No version is published yet, so there is nothing to deploy.")
    if not NAME.fullmatch(order.name):
        found.append("The name takes lower-case letters, digits and hyphens, 32 at most.")
    if machine is None:
        found.append("Choose a machine from the list.")
    elif machine.status == "not_available":
        found.append("That machine is not available at the moment; choose another one.")
    if not 0 <= order.min_replica <= order.max_replica or order.max_replica < 1:
        found.append("Replicas: the least must be 0 or more, the most 1 or more and not below the least.")
    if order.security not in SECURITY:
        found.append(f"Security is one of {', '.join(SECURITY)}.")
    return found


def watch(name: str, namespace: str, token: str, *, every: float = 2.0, timeout: float = 1800.0) -> Iterator[Progress]:
    """Give the endpoint's state whenever it has changed, until it runs or nothing more will happen.

    Raises:
        Refused: the API does not answer for it, or it takes more than `timeout` seconds.
    """
    said, end = None, time.monotonic() + timeout
    while said is None or not said.over:
        with _in_words(token, name, namespace):
            now = progress_of(_api(token).get_inference_endpoint(name, namespace=namespace or None))
        if now != said:
            said = now
            yield now
        if time.monotonic() > end:
            raise Refused(f"{name} is still {now.state} after {timeout / 60:.0f} minutes; look at its page on the Hub.")
        if not now.over:
            time.sleep(every)


def progress_of(endpoint: InferenceEndpoint) -> Progress:
    """Read an endpoint's state, with what the API says about it."""
    status = endpoint.raw.get("status") or {}
    state = str(getattr(endpoint.status, "value", endpoint.status))
    return Progress(state, str(status.get("message") or "")[:300], endpoint.url)


def call(url: str, prompt: str, token: str, *, timeout: float = _CALL_SECONDS) -> tuple[bytes, float]:
    """Call an endpoint for one picture; return its bytes and the seconds that it took.

    Raises:
        Refused: it does not answer, or not with a picture.
    """
    body = {"inputs": prompt, "parameters": {"seed": 0}}
    headers = {"Authorization": f"Bearer {token.strip()}", "Accept": "application/json"}
    began = time.monotonic()
    try:
        answer = httpx2.post(url, json=body, headers=headers, timeout=timeout)
        content: Any = answer.json() if answer.status_code == 200 else {}
        picture = base64.b64decode(content["images"][0]) if answer.status_code == 200 else b""
    except httpx2.HTTPError as error:
        raise Refused(f"The endpoint runs, but did not answer ({type(error).__name__}).") from error
    except (ValueError, KeyError, IndexError, TypeError, binascii.Error) as error:
        raise Refused("The endpoint answered, but not with a picture: is it of this concept?") from error
    if answer.status_code != 200:
        raise Refused(f"The endpoint answered {answer.status_code}: {_without(answer.text[:300], token)}")
    return picture, time.monotonic() - began


def list_all(namespace: str, token: str) -> list[InferenceEndpoint]:
    """List the endpoints of an account, by name.

    Raises:
        Refused: the API does not show them.
    """
    with _in_words(token, "", namespace):
        found = _api(token).list_inference_endpoints(namespace or None)
    return sorted(found, key=lambda endpoint: endpoint.name)


def change(what: str, name: str, namespace: str, token: str) -> str:
    """Pause, resume or delete an endpoint; what was done, in words.

    Raises:
        Refused: the API does not do it.
    """
    with _in_words(token, name, namespace):
        api = _api(token)
        does: Mapping[str, Callable[..., Any]] = {
            "pause": api.pause_inference_endpoint,
            "resume": api.resume_inference_endpoint,
            "delete": api.delete_inference_endpoint,
        }
        does[what](name, namespace=namespace or None)
    return {"pause": f"{name} is paused.", "resume": f"{name} starts again.", "delete": f"{name} is deleted."}[what]


def explain(status: int, detail: str, name: str, namespace: str) -> str:
    """Say in words why the API refused."""
    words = {
        400: "The API did not accept this; check machine, name and replicas",
        401: "The token was refused: it is wrong or has expired",
        402: "The account has no way to pay; add one in its billing settings",
        403: "The token or the account may not do this: check its permissions and the account's quota",
        404: f"{name or 'That'} is not visible to this token in {namespace or 'its own account'}",
        409: f"There is an endpoint named {name} already; choose another name",
        429: "Too many requests; try again in a minute",
    }
    what = words.get(status, "The API failed; try again later" if status >= 500 else "The API refused")
    return f"{what} ({status}{': ' + detail if detail else ''})."


@contextmanager
def _in_words(token: str, name: str = "", namespace: str = "") -> Iterator[None]:
    if not token.strip():
        raise Refused("Give a token that may manage endpoints (it starts with hf_).")
    try:
        yield
    except HfHubHTTPError as error:
        detail = _without((error.server_message or "")[:300], token)
        raise Refused(explain(error.response.status_code, detail, name, namespace)) from None
    except httpx2.HTTPError as error:
        raise Refused(f"The API could not be reached ({type(error).__name__}); try again.") from None
    except UnicodeEncodeError:
        raise Refused("That is not a token: it holds letters that no token has.") from None


def _without(text: str, token: str) -> str:
    return text.replace(token.strip(), "…")


def _api(token: str) -> HfApi:
    # The client has this address hard-coded, but reads it at each call. A Hub of one's own has its own.
    address = os.environ.get(ENDPOINTS_API_VARIABLE)
    if address is None and constants.ENDPOINT != HUB:
        address = f"{constants.ENDPOINT}/v2"
    if address:
        constants.INFERENCE_ENDPOINTS_ENDPOINT = address
    return HfApi(token=token.strip())
