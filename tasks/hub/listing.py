"""Paged listings of an owner's repos. A repo that the client cannot parse is one result, and ends no listing.

The card of any repo of the owner is in the answer as its front matter, in which its user may write anything.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub.hf_api import ModelInfo, SpaceInfo
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._pagination import paginate

from conceptry.errors import ConceptryError
from conceptry.isolation import isolate
from tasks.hub.ownership import KEY
from tasks.hub.session import HubSession, Kind

_INFO: dict[Kind, Callable[..., ModelInfo | SpaceInfo]] = {"model": ModelInfo, "space": SpaceInfo}
_FIELDS = {"model": ["cardData", "private", "sha"], "space": ["cardData", "private", "runtime", "sha"]}


@dataclass(frozen=True)
class UnreadableRepo:
    """Repo whose entry in the listing cannot be parsed.

    `ours` is whether its card has Conceptry's key. One that may be public counts as public.
    """

    error: ConceptryError
    ours: bool
    private: bool


def list_repos(session: HubSession, kind: Kind) -> Iterator[tuple[str, ModelInfo | SpaceInfo | UnreadableRepo]]:
    """Yield name and info of each repo of the session's owner.

    Raises:
        HfHubHTTPError: the Hub refused, or could not be reached.
    """
    owner, token = session.target.owner, session.target.token
    path = f"{session.target.endpoint.rstrip('/')}/api/{kind}s"
    headers = build_hf_headers(token=token.get_secret_value() if token else False)
    for item in paginate(path, params={"author": owner, "expand": _FIELDS[kind]}, headers=headers):
        identity = item.get("id") if isinstance(item, Mapping) else None
        namespace, _, name = str(identity).partition("/")
        if namespace.lower() == owner.lower() and name:
            yield name, _parse(kind, name, item)


def _parse(kind: Kind, name: str, item: Mapping[str, Any]) -> ModelInfo | SpaceInfo | UnreadableRepo:
    card = item.get("cardData")
    own = card.get(KEY) if isinstance(card, Mapping) else None
    # Of the other keys only that there are any: some make the client raise, for example `ignore_metadata_errors`.
    entry = {key: item.get(key) for key in ("id", "private", "sha", "runtime")}
    entry["cardData"] = {KEY: own, "others": True} if card else None
    return isolate(
        name,
        lambda: _INFO[kind](**entry),
        lambda error: UnreadableRepo(error, isinstance(own, Mapping), entry["private"] is True),
    )
