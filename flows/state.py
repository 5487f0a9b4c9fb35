"""What git asks for and what the Hub holds: the two states that every flow compares."""

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from conceptry.concept import BASE_MODELS, BaseModel, Desired, parse_sources
from conceptry.errors import SettingsError
from conceptry.settings import Settings
from conceptry.version import Actual
from tasks import dvc, git, hub, space, training


def target(settings: Settings) -> hub.HubTarget:
    """The place on the Hub that the settings name."""
    token = settings.hub_token or _secret(settings.hub_token_block)
    return hub.HubTarget(settings.hub_endpoint, settings.hub_owner, token)


@lru_cache(maxsize=4)
def _secret(block: str | None) -> SecretStr | None:
    if block is None:
        return None
    from prefect.blocks.system import Secret

    try:
        loaded = cast(Any, Secret).load(block, _sync=True)
    except ValueError as error:
        raise SettingsError(
            f"there is no Prefect block secret/{block}", next_step="`conceptry setup gcp` registers it"
        ) from error
    return SecretStr(str(loaded.get()))


def mirror(settings: Settings) -> Path:
    """Where the mirror of the origin lies."""
    return (settings.work / "mirror.git").absolute()


def bases() -> dict[str, BaseModel]:
    """Every preset, by name."""
    return {name: training.base_model(name) for name in BASE_MODELS}


def templates() -> str:
    """Digest of the templates of Space and handler."""
    return space.templates_digest()


def read_git(settings: Settings, revision: str | None = None, only: str | None = None) -> Desired:
    """Fetch the origin and read the concepts at its branch's head; their images are not looked up yet.

    Args:
        settings: of this installation.
        revision: read this commit instead, which the branch must contain or have contained.
        only: leave out every concept but this one. Whether tokens are unique is judged over all of them.
    """
    bare = git.mirror(settings.repo, mirror(settings))
    at = revision or git.head(bare, settings.branch)
    concepts = parse_sources(git.read_concepts(bare, at))
    return Desired(at, {name: concept for name, concept in concepts.items() if only in (None, name)})


def list_images(settings: Settings, desired: Desired, check: Collection[str] = ()) -> Desired:
    """Fill in the images of each concept; of those in `check`, ask the DVC remote whether it has them all."""
    listed = dvc.list_images(
        mirror(settings), desired.revision, desired.concepts, (settings.work / "listings").absolute(), check=set(check)
    )
    return replace(desired, concepts=listed)


def list_hub(settings: Settings) -> Actual:
    """Read the versions and Spaces of all concepts in a few pages."""
    return hub.list_actual(target(settings))
