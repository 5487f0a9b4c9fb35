"""The state of every concept on the Hub, from two paged listings."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from huggingface_hub.hf_api import ModelInfo, SpaceInfo

from conceptry.errors import HubError
from conceptry.version import Actual, ActualConcept, MainState, SpaceState, Version
from tasks.hub.client import HubTarget, telling
from tasks.hub.refs import read_versions

KEY = "conceptry"
PAUSED = frozenset({"PAUSED", "PAUSING"})


def list_actual(target: HubTarget) -> Actual:
    """Read what the Hub holds: one listing of models with their cards, one of Spaces, whatever the number of concepts.

    Repos without our key in their card are somebody else's and left out. Where an index was edited by hand and cannot
    be read, that one repo's branches are read instead, so that nothing is trained twice for it. Where these cannot be
    understood either, that concept says so (`trouble`), and the others go on.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    api = target.api()
    with telling(target, f"listing the repos of {target.owner}"), ThreadPoolExecutor(1) as second:
        pages = api.list_spaces(author=target.owner, expand=["cardData", "runtime", "sha"])
        listed = second.submit(lambda: dict(_ours(target, pages)))
        models = dict(_ours(target, api.list_models(author=target.owner, expand=["cardData", "sha"])))
        spaces = listed.result()
    concepts = {}
    for name in sorted(models.keys() | spaces.keys()):
        space = _space(spaces[name]) if name in spaces else None
        if name not in models:
            concepts[name] = ActualConcept(name, (), space)
            continue
        try:
            versions = _versions(target, name, models[name])
        except HubError as error:
            concepts[name] = ActualConcept(name, (), space, trouble=str(error))
        else:
            concepts[name] = ActualConcept(name, versions, space, _main(models[name]))
    return Actual(concepts)


def _ours(
    target: HubTarget, repos: Iterable[ModelInfo] | Iterable[SpaceInfo]
) -> Iterator[tuple[str, ModelInfo | SpaceInfo]]:
    for info in repos:
        owner, _, name = info.id.partition("/")
        if owner == target.owner and isinstance(_data(info), dict):
            yield name, info


def _data(info: ModelInfo | SpaceInfo) -> object:
    return info.card_data.get(KEY) if info.card_data else None


def _versions(target: HubTarget, name: str, info: ModelInfo | SpaceInfo) -> tuple[Version, ...]:
    data = _data(info)
    entries = data.get("versions", []) if isinstance(data, dict) else []
    try:
        if not isinstance(entries, list):
            raise HubError(f"the index of {info.id} is not a list")
        return tuple(sorted((Version.from_index(entry) for entry in entries), key=lambda version: version.number))
    except HubError:
        return read_versions(target, name)


def _main(info: ModelInfo | SpaceInfo) -> MainState:
    data = _data(info)
    release = data.get("release") if isinstance(data, dict) else None
    return MainState(release if isinstance(release, str) else None, info.sha)


def _space(info: ModelInfo | SpaceInfo) -> SpaceState:
    data = _data(info)
    said = data if isinstance(data, dict) else {}
    release, serving, files = said.get("release"), said.get("serving"), said.get("files")
    runtime = getattr(info, "runtime", None)
    return SpaceState(
        release if isinstance(release, str) else None,
        serving if isinstance(serving, str) else None,
        paused=runtime is not None and runtime.stage in PAUSED,
        sha=info.sha,
        files=files if isinstance(files, str) else None,
    )
