"""Cost of the jobs of a training, estimated from machine type and duration.

The table `prices.json` names the source and the day of its prices. CONCEPTRY_VERTEX_PRICES names another table of the
same form; `accelerators` (price of one, by type) is needed for machines whose price excludes them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conceptry.errors import SettingsError

TABLE = Path(__file__).with_name("prices.json")


class Prices(BaseModel):
    """Table of prices per hour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str = Field(description="Day on which the prices were looked up.")
    source: str = Field(description="Source of the prices, with region and kind of provisioning.")
    currency: str = Field("USD", description="Currency of all prices.")
    machines: dict[str, float] = Field(description="Price of a machine per hour, by machine type.")
    spot: dict[str, float] = Field(
        default_factory=dict, description="Price of a Spot machine per hour; an unlisted one has the full price."
    )
    accelerators: dict[str, float] = Field(
        default_factory=dict, description="Price of one accelerator per hour, if the machine's price excludes it."
    )

    @classmethod
    def load(cls, path: Path | None) -> "Prices":
        """Read a table; without a path, that of the package.

        Raises:
            SettingsError: the table cannot be read.
        """
        try:
            return cls.model_validate_json((path or TABLE).read_bytes())
        except (OSError, ValidationError) as error:
            raise SettingsError(
                f"the price table cannot be read: {error}", file=str(path), next_step="check CONCEPTRY_VERTEX_PRICES"
            ) from error

    def hourly(self, machine: str, provisioning: str) -> float | None:
        """Return the price of a machine per hour, without separately charged accelerators; None if it is not listed."""
        full = self.machines.get(machine)
        return self.spot.get(machine, full) if provisioning == "spot" else full


@dataclass(frozen=True)
class Use:
    """Usage of one job: seconds from its start to its end on `replicas` machines, and whether it is billed.

    Vertex AI does not bill a job that failed by itself; it bills a job that the user cancelled.
    """

    job: str
    machine_type: str
    accelerator_type: str | None
    accelerator_count: int
    replicas: int
    seconds: float
    billed: bool


def estimate(uses: Sequence[Use], prices: Prices, provisioning: str) -> dict[str, Any]:
    """Return the total cost, for the manifest; `amount` is None if the table does not list a machine."""
    hourly = [_hourly(use, prices, provisioning) for use in uses]
    amounts = [
        price * use.replicas * use.seconds / 3600
        for use, price in zip(uses, hourly, strict=True)
        if price is not None and use.billed
    ]
    last = uses[-1] if uses else None
    machine: Mapping[str, Any] = (
        {}
        if last is None
        else {
            "machine_type": last.machine_type,
            "accelerator": f"{last.accelerator_count} x {last.accelerator_type}" if last.accelerator_type else None,
            "replicas": last.replicas,
        }
    )
    return {
        "backend": "vertex",
        "amount": None if None in hourly else round(sum(amounts), 4),
        "currency": prices.currency,
        "estimate": True,
        "billed_seconds": round(sum(use.seconds for use in uses if use.billed), 1),
        "provisioning": provisioning,
        **machine,
        "jobs": [use.job for use in uses],
        "prices": {"date": prices.date, "source": prices.source},
    }


def _hourly(use: Use, prices: Prices, provisioning: str) -> float | None:
    machine = prices.hourly(use.machine_type, provisioning)
    if machine is None:
        return None
    return machine + prices.accelerators.get(use.accelerator_type or "", 0.0) * use.accelerator_count


def dumps(cost: Mapping[str, Any]) -> str:
    """Return an estimate as JSON."""
    return json.dumps(cost, indent=2) + "\n"
