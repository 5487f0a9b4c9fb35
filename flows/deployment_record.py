"""Record of what the last deploy left on the Prefect server, by which a later one recognises what users changed since.

Prefect keeps no such record, and the labels of a deployment cannot be changed, so it is a variable of the server:
`conceptry-deployed` with the suffix of the installation.
"""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from flows.schedule_merge import LastSchedule

VARIABLE = "conceptry-deployed"


class LastDeployment(BaseModel):
    """Deployment as the last deploy left it; `paused` is None if that is not known."""

    model_config = ConfigDict(frozen=True)

    paused: bool | None = None
    schedules: dict[str, LastSchedule] = Field(default_factory=dict)
    triggers: tuple[str, ...] = ()


Record = dict[str, LastDeployment]
"""By full name of the deployment."""
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def read_record(client: SyncPrefectClient, suffix: str) -> Record:
    """Return the record of an installation; empty if there is none, or a user has put something else there."""
    variable = client.read_variable_by_name(VARIABLE + suffix)
    try:
        return _RECORD.validate_python(variable.value) if variable else {}
    except ValidationError:
        return {}


def write_record(client: SyncPrefectClient, suffix: str, record: Record) -> None:
    """Replace the record of an installation.

    Raises:
        httpx.HTTPError: the server does not respond, or refuses.
    """
    name = VARIABLE + suffix
    value = _RECORD.dump_python(record, mode="json", exclude_defaults=True)
    if client.read_variable_by_name(name) is None:
        client.create_variable(VariableCreate(name=name, value=value, tags=["conceptry"]))
    else:
        client.update_variable(VariableUpdate(name=name, value=value))
