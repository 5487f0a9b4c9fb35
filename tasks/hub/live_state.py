"""Live state of all concepts from two paged listings, and of one concept from its own repos."""

import functools
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace

from huggingface_hub.hf_api import ModelInfo, SpaceInfo

from conceptry.errors import ConceptryError, RateLimitedError
from conceptry.isolation import isolate
from conceptry.version import Live, LiveConcept, MainState, SpaceState, Version
from tasks.hub.client import translate_errors
from tasks.hub.listing import UnreadableRepo, list_repos
from tasks.hub.main_card import card_drift, listed_versions, recover_versions, with_unlisted
from tasks.hub.ownership import README, Claim, holder, own_data, ownership, was_ours
from tasks.hub.repair import drift_of_refs
from tasks.hub.session import HubSession, Kind, Refs

Listed = ModelInfo | SpaceInfo | UnreadableRepo
PAUSED = frozenset({"PAUSED", "PAUSING"})


def list_live(session: HubSession, names: Collection[str] = (), *, partial: bool = False) -> Live:
    """Return the live state from one listing of models with their cards and one of Spaces, for any number of concepts.

    Repos without Conceptry's key in their card are left out, unless the card was deleted or replaced: of the concepts
    in `names` and of those that have a Space, the history of main shows that. If an index cannot be read, the history
    and the branches of that repo are read instead, so that no version is trained twice. If these cannot be read either,
    the concept carries the `error`, and the other concepts are unaffected. So it is with any other exception.

    Args:
        session: Session with the Hub.
        names: Names of the concepts in git.
        partial: Whether concepts whose files the Hub does not give out now (429) carry that as their `error`, too.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
        RateLimitedError: it takes no more requests; with `partial`, not even for the listings.
    """
    target = session.target
    with translate_errors(target, f"listing the repos of {target.owner}"), ThreadPoolExecutor(1) as second:
        listed = second.submit(copy_context().run, lambda: dict(list_repos(session, "space")))
        models: dict[str, Listed] = dict(list_repos(session, "model"))
        spaces: dict[str, Listed] = listed.result()
    concepts = {}
    for name in sorted(models.keys() | spaces.keys()):
        repos = {kind: found[name] for kind, found in (("model", models), ("space", spaces)) if name in found}
        concept = isolate(
            name,
            functools.partial(_listed_concept, session, name, repos, desired=name in names),
            functools.partial(_unread, name, repos, partial=partial),
        )
        if concept is not None:
            concepts[name] = concept
    return Live(concepts)


def _unread(name: str, repos: Mapping[str, Listed], error: ConceptryError, *, partial: bool) -> LiveConcept:
    """Return a concept whose repos could not be read, with what is known of its Space: it may have to be taken down.

    Raises:
        RateLimitedError: the error is that one, which is not about the concept; not with `partial`.
    """
    if isinstance(error, RateLimitedError) and not partial:
        raise error
    space = repos.get("space")
    state = None
    if isinstance(space, SpaceInfo) and _is_ours(space):
        state = isolate(name, lambda: _space(space), lambda _: None)
    public = any(not info.private for info in repos.values())
    return LiveConcept(name, (), state, error=str(error), public=public)


def _listed_concept(
    session: HubSession, name: str, repos: Mapping[str, Listed], *, desired: bool
) -> LiveConcept | None:
    """Return a concept of the listings; None if git lacks it and no repo of that name is this installation's.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached, or what it holds cannot be read.
    """
    infos = {kind: info for kind, info in repos.items() if not isinstance(info, UnreadableRepo)}
    claims = {kind: ownership(session.target, kind, info).claim for kind, info in infos.items()}
    if not desired and not {"ours", "unsigned"} & set(claims.values()):
        return None
    for repo in repos.values():
        if isinstance(repo, UnreadableRepo):
            raise repo.error
    with translate_errors(session.target, "reading its repos", name=name):
        holder = _holder(session, name) if {"another", "foreign"} & set(claims.values()) else None
        if holder:
            return LiveConcept(name, (), None, holder=holder) if desired else _archived(infos, claims, name)
        return _concept_of(session, name, infos.get("model"), infos.get("space"), in_full=False)


def _archived(repos: Mapping[str, ModelInfo | SpaceInfo], claims: Mapping[str, Claim], name: str) -> LiveConcept | None:
    """Return a concept that git lacks and whose model repo is not ours: its Space, if that is ours."""
    return LiveConcept(name, (), _space(repos["space"])) if claims.get("space") == "ours" else None


def _holder(session: HubSession, name: str) -> str | None:
    """Return in words who else holds the name of a concept, read from its repos; None if it is free or ours."""
    infos: tuple[tuple[Kind, ModelInfo | SpaceInfo | None], ...] = (
        ("model", session.model(name)),
        ("space", session.space(name)),
    )
    for kind, info in infos:
        found = ownership(session.target, kind, info) if info is not None else None
        if found is None or found.may_write:
            continue
        if found.claim == "another" or kind == "space" or not was_ours(session, name):
            return holder(session.target, name, kind, found)
    return None


def _concept_of(
    session: HubSession,
    name: str,
    model: ModelInfo | SpaceInfo | None,
    space: ModelInfo | SpaceInfo | None,
    *,
    in_full: bool,
) -> LiveConcept:
    """Return the state of a concept whose repos are this installation's.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        model: Info on its model repo; None if it does not exist.
        space: Info on its Space; None if it does not exist.
        in_full: Read every version in full, and refs; otherwise what a listing holds.

    Raises:
        HubError: a version's manifest cannot be read.
    """
    own = [info for info in (model, space) if info is not None]
    public = any(not info.private for info in own)
    unsigned = bool(own) and not any(ownership(session.target, "model", info).claim == "ours" for info in own)
    state = _space(space) if space is not None and _is_ours(space) else None
    if model is None:
        return LiveConcept(name, (), state, public=public, unsigned=unsigned)
    data, refs = _data(model), session.refs(name) if in_full else None
    listed = listed_versions(session, name, data, model.sha, in_full=in_full) if _is_ours(model) else None
    if listed is None and (_is_ours(model) or state is not None or _may_have_card(model)):
        found = _recovered(session, name, model, state)
        if found is not None:
            return replace(found, public=public, unsigned=unsigned)
    main = _main(data, model.sha, listed or (), signed=not unsigned)
    if refs is None:
        return LiveConcept(name, listed or (), state, main, public=public, unsigned=unsigned)
    versions, drift = with_unlisted(session, name, refs, listed or ()), drift_of_refs(session, name, refs, listed or ())
    return LiveConcept(name, versions, state, main, drift, public=public, unsigned=unsigned)


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
    return LiveConcept(name, versions, space, _main(_data(info), info.sha, (), signed=True), drift)


def read_live(session: HubSession, name: str) -> LiveConcept:
    """Return the live state of one concept from its repos: index, versions missing in it, drift, and the Space.

    All versions are in full.

    Raises:
        HubError: a version's manifest cannot be read, or the Hub refused.
        TransientError: the Hub could not be reached.
    """
    with translate_errors(session.target, "reading its repos", name=name):
        holder = _holder(session, name)
        if holder:
            return LiveConcept(name, (), None, holder=holder)
        return _concept_of(session, name, session.model(name), session.space(name), in_full=True)


def complete(session: HubSession, live: LiveConcept) -> LiveConcept:
    """Return the live state of a concept with all versions in full.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    return read_live(session, live.name) if any(version.keys is not None for version in live.versions) else live


def _data(info: ModelInfo | SpaceInfo) -> object:
    return own_data(info)


def _is_ours(info: ModelInfo | SpaceInfo) -> bool:
    return own_data(info) is not None


def _may_have_card(info: ModelInfo | SpaceInfo) -> bool:
    """Whether a repo has a card; a listing does not say."""
    return info.siblings is None or any(sibling.rfilename == README for sibling in info.siblings)


def _main(data: object, sha: str | None, listed: Iterable[Version], *, signed: bool) -> MainState | None:
    """Return the state of main; None while its card only reserves the repo."""
    if isinstance(data, Mapping) and "release" not in data:
        return None
    release = data.get("release") if isinstance(data, Mapping) else None
    numbers = tuple(version.number for version in listed)
    return MainState(release if isinstance(release, str) else None, sha, numbers, signed)


def _space(info: ModelInfo | SpaceInfo) -> SpaceState:
    data = _data(info)
    stamp = data if isinstance(data, Mapping) else {}
    release, serving, files = stamp.get("release"), stamp.get("serving"), stamp.get("files")
    runtime = getattr(info, "runtime", None)
    stage, running_sha = (str(runtime.stage), runtime.raw.get("sha")) if runtime is not None else (None, None)
    return SpaceState(
        release if isinstance(release, str) else None,
        serving if isinstance(serving, str) else None,
        paused=stage in PAUSED,
        sha=info.sha,
        files=files if isinstance(files, str) else None,
        stage=stage,
        running_sha=running_sha if isinstance(running_sha, str) else None,
    )
