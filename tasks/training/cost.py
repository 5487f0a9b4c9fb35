"""What the jobs of a training cost, estimated from machine type and time.

The table `prices.json` says where its prices are from and of which day; CONCEPTRY_VERTEX_PRICES names another one of
the same form, with `accelerators` (price of one, by type) added where a machine's price is without them.
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
    """A table of prices an hour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str = Field(description="Day on which the prices were looked up.")
    source: str = Field(description="Where they are from, and for which region and kind of provisioning.")
    currency: str = Field("USD", description="Currency of all prices.")
    machines: dict[str, float] = Field(description="Price of a machine for an hour, by machine type.")
    spot: dict[str, float] = Field(
        default_factory=dict, description="The same of a Spot machine; where it is not known, the full price is taken."
    )
    accelerators: dict[str, float] = Field(
        default_factory=dict, description="Price of one accelerator for an hour, where the machine's is without it."
    )

    @classmethod
    def load(cls, path: Path | None) -> "Prices":
        """Read a table; the one that comes along when there is no path.

        Raises:
            SettingsError: it cannot be read.
        """
        try:
            return cls.model_validate_json((path or TABLE).read_bytes())
        except (OSError, ValidationError) as error:
            raise SettingsError(
                f"the price table cannot be read: {error}", file=str(path), next_step="see CONCEPTRY_VERTEX_PRICES"
            ) from error

    def hourly(self, machine: str, provisioning: str) -> float | None:
        """Price of a machine for an hour, without accelerators that are charged apart; None when it is not known."""
        full = self.machines.get(machine)
        return self.spot.get(machine, full) if provisioning == "spot" else full


@dataclass(frozen=True)
class Use:
    """What one job used: seconds from its start to its end on `replicas` machines, and whether it is billed.

    Vertex AI bills no time of a job that failed by itself, but does of one that its user cancelled.
    """

    job: str
    machine_type: str
    accelerator_type: str | None
    accelerator_count: int
    replicas: int
    seconds: float
    billed: bool


def estimate(uses: Sequence[Use], prices: Prices, provisioning: str) -> dict[str, Any]:
    """Add up, for the manifest; `amount` is None where the table has no price for a machine."""
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
    """Write an estimate as JSON."""
    return json.dumps(cost, indent=2) + "\n"
