"""What git asks for and what the Hub holds: the two states that every flow compares."""

import os
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from conceptry.concept import BASE_MODELS, BaseModel, Desired, parse_sources
from conceptry.errors import SettingsError, SpecError
from conceptry.estimate import Rate
from conceptry.policy import PATH as POLICY
from conceptry.policy import Policy, load_policy
from conceptry.settings import Settings
from conceptry.version import Actual
from tasks import dvc, git, hub, space, training
from tasks.rates import rates as training_rates
from tasks.training.cost import Prices


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
    """Identity of the templates of Space and handler."""
    return space.TEMPLATES_REVISION


def read_git(settings: Settings, revision: str | None = None, only: str | None = None) -> Desired:
    """Fetch the origin and read the concepts at its branch's head; their images are not looked up yet.

    Args:
        settings: of this installation.
        revision: read this commit, branch or tag of the origin instead.
        only: leave out every concept but this one. Whether tokens are unique is judged over all of them.
    """
    bare = git.mirror(settings.repo, mirror(settings))
    at = git.resolve(bare, revision) if revision else git.head(bare, settings.branch)
    concepts = parse_sources(git.read_concepts(bare, at))
    return Desired(at, {name: concept for name, concept in concepts.items() if only in (None, name)})


def list_images(settings: Settings, desired: Desired, check: Collection[str] = ()) -> Desired:
    """Fill in the images of each concept; of those in `check`, ask the DVC remote whether it has them all."""
    listed = dvc.list_images(
        mirror(settings), desired.revision, desired.concepts, (settings.work / "listings").absolute(), check=set(check)
    )
    return replace(desired, concepts=listed)


def list_known_images(settings: Settings, desired: Desired, trouble: str, names: Collection[str] = ()) -> Desired:
    """Fill in what this machine knows of the images while the DVC remote cannot be asked.

    Args:
        settings: of this installation.
        desired: what git asks for.
        trouble: why it cannot be asked, in words.
        names: concepts that must not be trained without asking, besides those whose images nobody here knows.
    """
    listed = dvc.list_cached(desired.concepts, (settings.work / "listings").absolute())
    concepts = {
        name: replace(one, trouble=trouble) if name in names or (one.images is None and one.error is None) else one
        for name, one in listed.items()
    }
    return replace(desired, concepts=concepts)


def read_policy(settings: Settings, revision: str) -> tuple[Policy, str | None]:
    """Read conceptry.yaml at a revision; a broken one is said in words, and stands for the defaults."""
    data = git.read_file(mirror(settings), revision, POLICY)
    try:
        return load_policy(None if data is None else data.decode("utf-8", "surrogateescape")), None
    except SpecError as error:
        return Policy(), "; ".join(str(error).splitlines())


def rates(settings: Settings) -> dict[str, Rate]:
    """How fast each preset trains, and what that costs: by name, and by `backend/name` for concepts that choose."""
    each = {
        "local": training_rates("local", settings.gpu_usd_per_hour or 0.0),
        "vertex": training_rates("vertex", settings.gpu_usd_per_hour or _vertex_price()),
    }
    chosen = {f"{backend}/{name}": rate for backend, rates in each.items() for name, rate in rates.items()}
    return each[settings.backend] | chosen


def _vertex_price() -> float:
    """Dollars an hour of the machine that jobs run on; 0 where the table does not know it."""
    machine = os.environ.get("CONCEPTRY_VERTEX_MACHINE_TYPE") or "a2-highgpu-1g"
    table = os.environ.get("CONCEPTRY_VERTEX_PRICES")
    prices = Prices.load(Path(table) if table else None)
    return prices.hourly(machine, os.environ.get("CONCEPTRY_VERTEX_PROVISIONING") or "standard") or 0.0


def image_names(settings: Settings, actual: Actual, names: Collection[str]) -> dict[str, str]:
    """Paths, by md5, of the images that the newest versions of these concepts were made of, where they are known."""
    newest = (max(actual.concepts[name].versions, key=lambda version: version.number, default=None) for name in names)
    return dvc.known_names({version.dvc_md5 for version in newest if version}, (settings.work / "listings").absolute())


def list_hub(settings: Settings) -> Actual:
    """Read the versions and Spaces of all concepts in a few pages."""
    return hub.list_actual(target(settings))
