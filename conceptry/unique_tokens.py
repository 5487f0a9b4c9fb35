"""Placeholder tokens are unique over a repository."""

from collections.abc import Mapping

from conceptry.concept import ConceptSpec, spec_path
from conceptry.errors import Problem, SpecError


def check_unique_tokens(specs: Mapping[str, ConceptSpec]) -> dict[str, SpecError]:
    """Return an error for every concept whose placeholder token another concept claims as well."""
    claims: dict[str, list[str]] = {}
    for name, spec in specs.items():
        claims.setdefault(spec.placeholder_token, []).append(name)
    errors = {}
    for token, names in claims.items():
        for name in names if len(names) > 1 else ():
            others = ", ".join(sorted(set(names) - {name}))
            message = f"{token} is also the token of {others}; choose a different token"
            errors[name] = SpecError([Problem(None, "placeholder_token", message)], spec_path(name))
    return errors
