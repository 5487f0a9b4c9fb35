"""Live state of all concepts from two paged listings, and of one concept from its own repos."""

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial

from huggingface_hub import CardData
from huggingface_hub.hf_api import ModelInfo, SpaceInfo

from conceptry.errors import ConceptryError
from conceptry.isolation import isolate
from conceptry.version import Live, LiveConcept, MainState, SpaceState, Version
from tasks.hub.client import translate_errors
from tasks.hub.listing import UnreadableRepo, list_repos
from tasks.hub.main_card import card_drift, listed_versions, recover_versions, with_unlisted
from tasks.hub.repair import drift_of_refs
from tasks.hub.session import KEY, HubSession, Refs

Listed = ModelInfo | SpaceInfo | UnreadableRepo
PAUSED = frozenset({"PAUSED", "PAUSING"})


def list_live(session: HubSession, names: Collection[str] = ()) -> Live:
    """Return the live state from one listing of models with their cards and one of Spaces, for any number of concepts.

    Repos without Conceptry's key in their card are left out, unless the card was deleted or replaced: of the concepts
    in `names` and of those that have a Space, the history of main shows that. If an index cannot be read, the history
    and the branches of that repo are read instead, so that no version is trained twice. If these cannot be read either,
    the concept carries the `error`, and the other concepts are unaffected. So it is with any other exception.

    Args:
        session: Session with the Hub.
        names: Names of the concepts in git.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    target = session.target
    with translate_errors(target, f"listing the repos of {target.owner}"), ThreadPoolExecutor(1) as second:
        listed = second.submit(copy_context().run, lambda: dict(list_repos(session, "space")))
        models = dict(list_repos(session, "model"))
        spaces = {name: info for name, info in listed.result().items() if _is_ours(info)}
    concepts = {}
    for name in sorted(models.keys() | spaces.keys()):
        repos = [infos[name] for infos in (models, spaces) if name in infos]
        if not any(map(_is_ours, repos)) and name not in names:
            continue
        concept = isolate(
            name,
            partial(_listed_concept, session, name, models.get(name), spaces.get(name)),
            partial(_unread, name, spaces.get(name)),
        )
        if concept is not None:
            concepts[name] = replace(concept, public=any(not info.private for info in repos))
    return Live(concepts)


def _unread(name: str, space: Listed | None, error: ConceptryError) -> LiveConcept:
    """Return a concept whose repos could not be read, with what is known of its Space: it may have to be taken down."""
    state = isolate(name, lambda: _space(space), lambda _: None) if isinstance(space, SpaceInfo) else None
    return LiveConcept(name, (), state, error=str(error))


def _listed_concept(
    session: HubSession, name: str, listed: Listed | None, listed_space: Listed | None
) -> LiveConcept | None:
    """Return a concept of the listing; None for a repo of someone else that has a concept's name.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached, or what it holds cannot be read.
    """
    info, shown = _readable(listed), _readable(listed_space)
    space = None if shown is None else _space(shown)
    if info is None:
        return LiveConcept(name, (), space)
    data = _data(info)
    with translate_errors(session.target, "reading its versions", name=name):
        versions = listed_versions(session, name, data, info.sha, in_full=False)
        if versions is not None:
            return LiveConcept(name, versions, space, _main(data, info.sha, versions))
        return _recovered(session, name, info, space)


def _readable(repo: Listed | None) -> ModelInfo | SpaceInfo | None:
    if isinstance(repo, UnreadableRepo):
        raise repo.error
    return repo


def _recovered(
    session: HubSession, name: str, info: ModelInfo | SpaceInfo, space: SpaceState | None
) -> LiveConcept | None:
    """Return a concept whose card was deleted, replaced or edited so that it cannot be read; None if it is no concept.

    Raises:
        HubError: a version's manifest cannot be read.
    """
    refs = session.refs(name) or Refs({})
    versions = recover_versions(session, name, refs, ours=_is_ours(info) or space is not None)
    if versions is None or not (versions or _is_ours(info)):
        return None if space is None else LiveConcept(name, (), space)
    drift = (card_drift(bool(info.card_data)), *drift_of_refs(session, name, refs, versions))
    return LiveConcept(name, versions, space, _main(_data(info), info.sha, ()), drift)


def read_live(session: HubSession, name: str) -> LiveConcept:
    """Return the live state of one concept from its repos: index, versions missing in it, drift, and the Space.

    All versions are in full.

    Raises:
        HubError: a version's manifest cannot be read, or the Hub refused.
        TransientError: the Hub could not be reached.
    """
    with translate_errors(session.target, "reading its repos", name=name):
        model, space = session.model(name), session.space(name)
        state = _space(space) if space is not None and _is_ours(space) else None
        refs = session.refs(name) if model is not None else None
        public = any(not info.private for info in (model, space) if info is not None)
        if model is None or refs is None:
            return LiveConcept(name, (), state, public=public)
        data = _data(model)
        listed = listed_versions(session, name, data, model.sha) if _is_ours(model) else ()
        if listed is None or (not _is_ours(model) and (state is not None or _has_card(model))):
            found = _recovered(session, name, model, state)
            if found is not None:
                return replace(found, public=public)
        versions = with_unlisted(session, name, refs, listed or ())
        drift = drift_of_refs(session, name, refs, listed or ())
    return LiveConcept(name, versions, state, _main(data, model.sha, listed or ()), drift, public=public)


def complete(session: HubSession, live: LiveConcept) -> LiveConcept:
    """Return the live state of a concept with all versions in full.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    return read_live(session, live.name) if any(version.keys is not None for version in live.versions) else live


def _data(info: ModelInfo | SpaceInfo) -> object:
    return info.card_data.get(KEY) if isinstance(info.card_data, CardData) else None


def _is_ours(info: Listed) -> bool:
    return info.ours if isinstance(info, UnreadableRepo) else isinstance(_data(info), dict)


def _has_card(info: ModelInfo | SpaceInfo) -> bool:
    return any(sibling.rfilename == "README.md" for sibling in info.siblings or ())


def _main(data: object, sha: str | None, listed: Iterable[Version]) -> MainState:
    release = data.get("release") if isinstance(data, dict) else None
    return MainState(release if isinstance(release, str) else None, sha, tuple(version.number for version in listed))


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
