"""What the Hub's refusals mean: 402 and 403 to a change, in words and with what to do.

The Hub answers 402 where a plan is missing, and 403 for a missing way to pay, full storage, and rights that a token
lacks; its words tell them apart. Known answers:

    402  POST repos/create of a Space with an app, from an account without a plan (since July 2026)
    403  POST hardware without a way to pay: "You must add a payment method to your account to upgrade ..."
    403  upload: "Private repository storage limit reached, please upgrade your plan ..."
    403  any change: the token, or its account, may not do this
    403  PUT to a signed address: it has expired, or this machine's clock is wrong
"""

import re
from urllib.parse import urlsplit

from huggingface_hub.errors import HfHubHTTPError

from conceptry.errors import ConceptryError, HubError, PaymentRequiredError, RefusedError, TransientError
from conceptry.installation import HubTarget

_STORAGE = re.compile(r"\bstorage\b", re.IGNORECASE)
_MONEY = re.compile(r"(?i:\b(payment|billing|subscri\w+|upgrade|credits?|paid plan|pricing)\b)|\bPRO\b")
_SIGNED = re.compile(r"\b(signature|signed|expired)\b", re.IGNORECASE)
_READS = ("GET", "HEAD")


def refusal(error: HfHubHTTPError, target: HubTarget, what: str, name: str | None) -> ConceptryError:
    """Return the error for a 402 or 403 of the Hub.

    Args:
        error: What the client raised.
        target: Hub and owner.
        what: What happened, in words.
        name: Name of the concept.
    """
    status, said = error.response.status_code, error.server_message or ""
    request = error.response.request
    if status == 403 and (_of_another_host(target, str(request.url)) or _SIGNED.search(said)):
        return TransientError(
            what, concept=name, next_step="flows ask for a new address by themselves; check this machine's clock"
        )
    if status == 402 or _MONEY.search(said) or (status == 403 and _STORAGE.search(said)):
        return PaymentRequiredError(what, concept=name, next_step=_pay(target, request.url.path, said))
    rights = f"the token may not do this: give it write access to the repos of {target.owner}"
    if request.method in _READS:
        return HubError(what, concept=name, next_step=rights)
    return RefusedError(what, concept=name, next_step=rights)


def _pay(target: HubTarget, path: str, said: str) -> str:
    """Return who has to do what so that the Hub takes the request."""
    owner = target.owner
    if path.endswith("/repos/create"):
        return (
            f"get a plan for {owner} (PRO, or Team or Enterprise for an organization), then its Space follows by "
            "itself; versions are published all the same, and `release: none` asks for no Space"
        )
    if _STORAGE.search(said):
        return (
            f"delete large files in the settings of repos of {owner} that are no longer needed, get a larger plan, or "
            "write `space.private: false`"
        )
    if path.endswith(("/hardware", "/sleeptime")):
        return (
            f"add a way to pay in the billing settings of {owner}, or choose free hardware (space.hardware: cpu-basic)"
        )
    return f"get a plan, or add a way to pay, in the billing settings of {owner}"


def _of_another_host(target: HubTarget, url: str) -> bool:
    return urlsplit(url).netloc != urlsplit(target.endpoint).netloc
