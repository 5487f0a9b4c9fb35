"""Deployments of an installation on a Prefect server: their names, and the tag that says whose they are.

Installations that share a server need different names: all but one set CONCEPTRY_DEPLOYMENT_SUFFIX. A deployment with
the tag of another installation is neither replaced nor used.
"""

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from conceptry.errors import SettingsError
from conceptry.installation import Installation
from conceptry.installation_id import installation_id
from conceptry.settings import DeploymentSettings, OriginSettings, Settings

TRAINING, WATCH, WATCHER, REAP = "train-concept", "watch", "watcher", "reap"
FLOWS = (WATCHER, WATCH, TRAINING, REAP, "release")
"""Flows with a deployment of the same name, as prefect.yaml declares them."""
_TAG = "installation:"


def installation_tag(installation: str) -> str:
    """Return the tag of the deployments and runs of an installation."""
    return f"{_TAG}{installation}"


def deployment_tags(installation: str | None) -> list[str]:
    """Return the tags of the deployments of an installation; None if it is unknown."""
    return ["conceptry", *([installation_tag(installation)] if installation else [])]


def deploy_step() -> dict[str, list[str]]:
    """Step of `prefect deploy`, before each deployment: check all names, and return the tags of this installation.

    Raises:
        SystemExit: see `checked_tags`; Prefect prints a traceback of anything else, without the message at its end.
    """
    try:
        return {"tags": checked_tags("")}
    except SettingsError as error:
        raise SystemExit(f"error: {error}") from None


def checked_tags(suffix: str) -> list[str]:
    """Check that this installation may register its deployments; return their tags.

    Without CONCEPTRY_REPO the installation is unknown, and no deployment with the tag of one is replaced.

    Args:
        suffix: Suffix of the names that are deployed.

    Raises:
        SettingsError: a deployment belongs to another installation, CONCEPTRY_DEPLOYMENT_SUFFIX is another suffix, or
            settings are wrong.
    """
    if (wanted := DeploymentSettings().deployment_suffix) != suffix:
        raise SettingsError(
            f"CONCEPTRY_DEPLOYMENT_SUFFIX is {wanted!r}, but `prefect deploy` takes the names of prefect.yaml",
            next_step="use `conceptry deploy`, which adds the suffix",
        )
    deployer = None
    if OriginSettings().repo is not None:
        settings = Settings()
        deployer = installation_id(settings.hub_endpoint, settings.hub_owner, settings.repo, settings.branch)
    with get_client(sync_client=True) as client:
        refuse_foreign(client, deployer, suffix)
    return deployment_tags(deployer)


def refuse_foreign(client: SyncPrefectClient, deployer: str | None, suffix: str) -> None:
    """Check that no deployment with these names belongs to another installation.

    Args:
        client: Client of the Prefect server.
        deployer: Id of the installation that deploys; None if it is unknown.
        suffix: Suffix of its names.

    Raises:
        SettingsError: one does.
    """
    for flow in FLOWS:
        found = read_deployment(client, flow, suffix)
        if found is not None:
            _refuse_if_foreign(f"{flow}/{found.name}", found, deployer)


def find_deployment(client: SyncPrefectClient, installation: Installation, flow: str) -> DeploymentResponse:
    """Return the deployment of a flow for an installation.

    Raises:
        SettingsError: it does not exist, or belongs to another installation.
    """
    suffix = installation.settings.deployment_suffix
    found = read_deployment(client, flow, suffix)
    if found is None:
        raise SettingsError(
            f"there is no deployment {flow}/{flow}{suffix} on the Prefect server",
            next_step="run `conceptry deploy`, and set CONCEPTRY_DEPLOYMENT_SUFFIX of the worker to the same value",
        )
    _refuse_if_foreign(f"{flow}/{found.name}", found, installation.id)
    return found


def read_deployment(client: SyncPrefectClient, flow: str, suffix: str) -> DeploymentResponse | None:
    """Return the deployment of a flow, whoever it belongs to; None if there is none."""
    try:
        return client.read_deployment_by_name(f"{flow}/{flow}{suffix}")
    except ObjectNotFound:
        return None


def _refuse_if_foreign(name: str, found: DeploymentResponse, mine: str | None) -> None:
    owners = {tag.removeprefix(_TAG) for tag in found.tags if tag.startswith(_TAG)}
    if not owners - {mine}:
        return
    owner = ", ".join(sorted(owners))
    this = f"this one is {mine}" if mine else "this one is unknown without CONCEPTRY_REPO and CONCEPTRY_HUB_OWNER"
    raise SettingsError(
        f"the deployment {name} on the Prefect server belongs to the installation {owner}, and {this}",
        next_step="nothing was changed; set CONCEPTRY_DEPLOYMENT_SUFFIX, for example to -second, where this "
        f"installation deploys and runs; or, if the other one is gone, run `prefect deployment delete {name}`",
    )
