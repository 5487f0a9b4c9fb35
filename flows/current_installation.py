"""Construction of the Installation at an entry point, from the environment or from given settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial

from pydantic import SecretStr, ValidationError

from conceptry.errors import SettingsError
from conceptry.installation import HubTarget, Installation
from conceptry.settings import Settings
from conceptry.vertex_settings import VertexBasics, VertexSettings
from tasks.events import set_source

_CURRENT: ContextVar[Installation | None] = ContextVar("installation", default=None)


def current_installation() -> Installation:
    """Return the installation that `using` set in this process, else one from the environment.

    Raises:
        SettingsError: CONCEPTRY_... variables are missing or wrong, or the block of the Hub token does not exist.
    """
    from flows.run_log import attach_run_log  # imports Prefect, which only flows need

    attach_run_log()
    installation = _CURRENT.get() or build_installation(Settings())
    set_source(installation.id)
    return installation


@contextmanager
def using(installation: Installation) -> Iterator[None]:
    """Set the installation of the flows that are called, in this process, within the block."""
    token = _CURRENT.set(installation)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def build_installation(
    settings: Settings, *, renew: Callable[[], SecretStr | None] | None = None, **vertex: object
) -> Installation:
    """Build an installation from settings; read the Hub token from its Prefect block if the settings name one.

    Args:
        settings: Settings of the installation.
        renew: Returns the Hub token as it is set now; used instead of the Prefect block after the Hub refused a token.
        vertex: Settings of Vertex AI, by field, which take precedence over the environment.

    Raises:
        SettingsError: the Prefect block does not exist.
    """
    token, block = settings.hub_token, settings.hub_token_block
    if token is None and block:
        # In this context, because threads do not have Prefect's settings that a command set for itself.
        token, context = _load_secret(block), copy_context()
        renew = partial(_in_copy, context, block)
    hub = HubTarget(settings.hub_endpoint, settings.hub_owner, token, renew, settings.installation_id)
    try:
        basics = VertexBasics(**vertex)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(f"settings for Vertex AI are not usable: {error}") from None
    return Installation(settings, hub, basics, _vertex(vertex))


def _vertex(values: dict[str, object]) -> VertexSettings | SettingsError | None:
    if not values and not VertexSettings.in_use():
        return None
    try:
        return VertexSettings(**values)
    except SettingsError as error:
        return error


def _in_copy(context: Context, block: str) -> SecretStr:
    return context.copy().run(_load_secret, block)


def _load_secret(block: str) -> SecretStr:
    from prefect.blocks.system import Secret  # takes seconds to import, and most installations use no block

    try:
        loaded = Secret.load(block, _sync=True)  # type: ignore[call-arg]
    except ValueError as error:
        raise SettingsError(
            f"there is no Prefect block secret/{block}", next_step="`conceptry setup gcp` registers it"
        ) from error
    return SecretStr(str(loaded.get()))  # type: ignore[union-attr]
