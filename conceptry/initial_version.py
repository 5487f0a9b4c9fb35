"""Whether the version that a training is to start from can be used, and what it is in words."""

from collections.abc import Callable, Mapping

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.initializer import InitialVersion
from conceptry.suggestion import did_you_mean
from conceptry.version import LiveConcept, Version


def initial_version_problem(spec: ConceptSpec, base: BaseModel, live: Mapping[str, LiveConcept]) -> str | None:
    """Return what is wrong with the version that a concept starts from; None if it can be used, or is words.

    Args:
        spec: concept.yaml.
        base: Its base model.
        live: Live state, with the concept that the version belongs to.
    """
    start = spec.initial_version
    if start is None:
        return None
    there = live.get(start.name)
    version = find(start, there)
    if version is None:
        if there is None and (question := did_you_mean(start.name, live)):
            return f"there is no published concept named {start.name}; {question}"
        published = ", ".join(one.name for one in there.versions) if there else ""
        return f"{start} is not published yet; published versions of {start.name}: {published or 'none'}"
    if version.spec.get("base_digest") != base.digest:
        return f"{start} was trained on other weights than this {base.name}; start from a word, or from another version"
    vectors = version.spec.get("num_vectors")
    if vectors != spec.num_vectors:
        return f"{start} has {vectors} vectors, and num_vectors is {spec.num_vectors}; make them equal"
    return None


def find(start: InitialVersion, live: LiveConcept | None) -> Version | None:
    """Find a version in the live state of its concept."""
    return next((version for version in live.versions if version.name == start.version), None) if live else None


def words_of(version: Version, look_up: Callable[[InitialVersion], Version | None], default: str) -> str:
    """Return the words that a version's training began with, following those that started from another version.

    Args:
        version: Version to start from.
        look_up: Finds a version; None if it was deleted.
        default: Words to use if the first version of the chain was deleted.
    """
    seen = {version.fingerprint}
    current: Version | None = version
    while current is not None:
        initializer = str(current.spec.get("initializer_token", default))
        start = InitialVersion.parse(initializer)
        if start is None:
            return initializer
        current = look_up(start)
        if current is None or current.fingerprint in seen:
            return default
        seen.add(current.fingerprint)
    return default
