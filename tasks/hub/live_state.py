"""Live state of all concepts from two paged listings, and of one concept from its own repos."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from huggingface_hub.hf_api import ModelInfo, SpaceInfo

from conceptry.errors import HubError
from conceptry.version import Live, LiveConcept, MainState, SpaceState, Version
from tasks.hub.client import translate_errors
from tasks.hub.repair import drift_of_refs
from tasks.hub.repo_versions import read_versions, versions_at
from tasks.hub.session import KEY, HubSession, Refs

PAUSED = frozenset({"PAUSED", "PAUSING"})


def list_live(session: HubSession) -> Live:
    """Return the live state from one listing of models with their cards and one of Spaces, for any number of concepts.

    Repos without Conceptry's key in their card are left out. If an index was edited and cannot be parsed, the branches
    of that repo are read instead, so that no version is trained twice. If these cannot be read either, the concept
    carries the `error`, and the other concepts are unaffected.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    target, api = session.target, session.api
    with translate_errors(target, f"listing the repos of {target.owner}"), ThreadPoolExecutor(1) as second:
        pages = api.list_spaces(author=target.owner, expand=["cardData", "runtime", "sha"])
        listed = second.submit(lambda: dict(_ours(target.owner, pages)))
        models = dict(_ours(target.owner, api.list_models(author=target.owner, expand=["cardData", "sha"])))
        spaces = listed.result()
    concepts = {}
    for name in sorted(models.keys() | spaces.keys()):
        space = _space(spaces[name]) if name in spaces else None
        if name not in models:
            concepts[name] = LiveConcept(name, (), space)
            continue
        try:
            versions = _index(models[name])
            versions = read_versions(session, name) if versions is None else versions
        except HubError as error:
            concepts[name] = LiveConcept(name, (), space, error=str(error))
        else:
            concepts[name] = LiveConcept(name, versions, space, _main(models[name]))
    return Live(concepts)


def read_live(session: HubSession, name: str) -> LiveConcept:
    """Return the live state of one concept from its repos: index, versions missing in it, moved refs, and the Space.

    Raises:
        HubError: a version's manifest cannot be read, or the Hub refused.
        TransientError: the Hub could not be reached.
    """
    with translate_errors(session.target, "reading its repos", name=name):
        model, space = session.model(name), session.space(name)
        state = _space(space) if space is not None and isinstance(_data(space), dict) else None
        refs = session.refs(name) if model is not None else None
        if model is None or refs is None:
            return LiveConcept(name, (), state)
        index = _index(model) if isinstance(_data(model), dict) else ()
        listed = {one.number: one for one in index or () if not refs.is_deleted(one.commit, one.number)}
        # For a branch in the index, the commit in the index counts; that the branch was moved is drift.
        unlisted = Refs({f"v{number}": commit for number, commit in refs.versions.items() if number not in listed})
        versions = listed | {version.number: version for version in versions_at(session, name, unlisted, {})}
        drift = drift_of_refs(session, name, refs, index or ())
    return LiveConcept(name, tuple(versions[number] for number in sorted(versions)), state, _main(model), drift)


def _ours(owner: str, repos: Iterable[ModelInfo] | Iterable[SpaceInfo]) -> Iterator[tuple[str, ModelInfo | SpaceInfo]]:
    for info in repos:
        namespace, _, name = info.id.partition("/")
        if namespace == owner and isinstance(_data(info), dict):
            yield name, info


def _data(info: ModelInfo | SpaceInfo) -> object:
    return info.card_data.get(KEY) if info.card_data else None


def _index(info: ModelInfo | SpaceInfo) -> tuple[Version, ...] | None:
    """Return the versions that a card lists, sorted by number; None if the index cannot be parsed."""
    data = _data(info)
    entries = data.get("versions", []) if isinstance(data, dict) else []
    try:
        if not isinstance(entries, list):
            return None
        return tuple(sorted((Version.from_index(entry) for entry in entries), key=lambda version: version.number))
    except HubError:
        return None


def _main(info: ModelInfo | SpaceInfo) -> MainState:
    data = _data(info)
    release = data.get("release") if isinstance(data, dict) else None
    listed = tuple(version.number for version in _index(info) or ())
    return MainState(release if isinstance(release, str) else None, info.sha, listed)


def _space(info: ModelInfo | SpaceInfo) -> SpaceState:
    data = _data(info)
    stamp = data if isinstance(data, dict) else {}
    release, serving, files = stamp.get("release"), stamp.get("serving"), stamp.get("files")
    runtime = getattr(info, "runtime", None)
    return SpaceState(
        release if isinstance(release, str) else None,
        serving if isinstance(serving, str) else None,
        paused=runtime is not None and runtime.stage in PAUSED,
        sha=info.sha,
        files=files if isinstance(files, str) else None,
    )
