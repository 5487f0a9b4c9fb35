"""References to versions on the command line: `my-cat`, `my-cat@v2`, `my-cat@release`, `my-cat@latest`."""

from dataclasses import dataclass

from conceptry.concept import NAME
from conceptry.errors import ConceptryError, UnknownConceptError
from conceptry.isolation import printable_name
from conceptry.suggestion import did_you_mean
from conceptry.version import LiveConcept, Version

RELEASE = ("release", "released")
LATEST = "latest"


def concept_name(text: str) -> str:
    """Return the name of a concept as a user typed it.

    Raises:
        UnknownConceptError: no concept can have that name.
    """
    if not NAME.fullmatch(text):
        what = "cannot name a concept: names have lower-case letters and digits with single hyphens between them"
        raise UnknownConceptError(what, concept=printable_name(text)[:80])
    return text


@dataclass(frozen=True)
class VersionRef:
    """Reference to a version.

    Attributes:
        name: The concept.
        version: `vN`; `release` for the served version; `latest` for the newest; None for the released version, else
            the newest.
    """

    name: str
    version: str | None

    @classmethod
    def parse(cls, text: str) -> "VersionRef":
        """Parse `NAME` or `NAME@VERSION`.

        Raises:
            UnknownConceptError: no concept can have that name.
        """
        name, _, version = text.partition("@")
        return cls(concept_name(name), version or None)

    def choose(self, live: LiveConcept | None) -> Version:
        """Resolve the reference against the live state.

        Raises:
            UnknownConceptError: nothing is published under the name.
            ConceptryError: no such version exists; the message names the published ones.
        """
        if live is not None and live.error is not None:
            raise ConceptryError(live.error, concept=self.name)
        versions = sorted(live.versions if live else (), key=lambda version: version.number)
        if not versions:
            raise UnknownConceptError(
                "has no published version", concept=self.name, next_step="see its next action with `conceptry plan`"
            )
        served = live.space.release if live and live.space else None
        if self.version == LATEST or (self.version is None and served is None):
            return versions[-1]
        published = ", ".join(version.name for version in versions)
        if self.version in RELEASE and served is None:
            raise ConceptryError(
                "no version is released", concept=self.name, next_step=f"choose a published one: {published}"
            )
        name = served if self.version is None or self.version in RELEASE else self.version
        for version in versions:
            if version.name == name:
                return version
        known = [*RELEASE[:1], LATEST, *(version.name for version in versions)]
        step = f"choose a published one: {published}"
        if question := did_you_mean(str(name), known):
            step = f"{question} Published: {published}"
        raise ConceptryError(f"there is no version {name}", concept=self.name, next_step=step)
