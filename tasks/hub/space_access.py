"""Visibility of a concept's repos, and the token with which a private Space reads its model."""

from pydantic import SecretStr

from tasks.hub.client import translate_errors
from tasks.hub.session import HubSession

TOKEN_SECRET = "HF_TOKEN"
HIDDEN_VARIABLE = "CONCEPTRY_PRIVATE"
"""Variable of a Space that `space.private` of concept.yaml made private, and that may be made public again."""
_SECRET_BY_US = "Reads the model. By Conceptry."


def hide_repos(session: HubSession, name: str) -> None:
    """Make a concept's model repo and Space private, whatever they contain.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "making its repos private", name=name):
        session.prove(name)
        session.prove(name, "space")
        make_private(session, name)
        space = session.space(name)
        if space is not None and space.runtime is not None:
            _mark(session, name)


def entrust(session: HubSession, name: str, token: SecretStr | None) -> list[str]:
    """Mark a private Space as hidden by Conceptry, and give it its token, or take away that of an earlier push."""
    api, repo = session.api, session.target.repo(name)
    _mark(session, name)
    if token is not None:
        api.add_space_secret(repo, TOKEN_SECRET, token.get_secret_value(), description=_SECRET_BY_US)
        return [f"secret {TOKEN_SECRET}"]
    if _has_our_secret(session, name):
        api.delete_space_secret(repo, TOKEN_SECRET)
        return [f"no secret {TOKEN_SECRET}"]
    return []


def _mark(session: HubSession, name: str) -> None:
    repo = session.target.repo(name)
    if HIDDEN_VARIABLE not in session.api.get_space_variables(repo):
        session.api.add_space_variable(repo, HIDDEN_VARIABLE, "true", description="space.private in concept.yaml.")


def _has_our_secret(session: HubSession, name: str) -> bool:
    secret = session.api.get_space_secrets(session.target.repo(name)).get(TOKEN_SECRET)
    return secret is not None and secret.description == _SECRET_BY_US


def hidden_by_us(session: HubSession, name: str) -> bool:
    """Whether Conceptry made a Space private, and not its user."""
    marked = HIDDEN_VARIABLE in session.api.get_space_variables(session.target.repo(name))
    return marked or _has_our_secret(session, name)  # an older release left the secret only


def make_private(session: HubSession, name: str) -> list[str]:
    """Make those of model repo and Space private that exist and are public; return the change in words."""
    model, space, changed = session.model(name), session.space(name), []
    for kind, info in (("space", space), ("model", model)):
        if info is not None and not info.private:
            session.api.update_repo_settings(session.target.repo(name), private=True, repo_type=kind)
            session.forget(name, "space" if kind == "space" else "model")
            changed = ["private"]
    return changed


def show(session: HubSession, name: str) -> list[str]:
    """Make model repo and Space public, and delete Conceptry's secret and mark, which are no longer needed."""
    repo = session.target.repo(name)
    if session.model(name) is not None:
        session.api.update_repo_settings(repo, private=False, repo_type="model")
    session.api.update_repo_settings(repo, private=False, repo_type="space")
    if _has_our_secret(session, name):
        session.api.delete_space_secret(repo, TOKEN_SECRET)
    if HIDDEN_VARIABLE in session.api.get_space_variables(repo):
        session.api.delete_space_variable(repo, HIDDEN_VARIABLE)
    return ["public"]
