"""The hardware catalogue of Inference Endpoints: an excerpt of the one that the real service has.

Every handler runs on this machine; the catalogue serves to refuse a wrong vendor, region or instance type.
"""

from __future__ import annotations

from typing import Any

from emulators.hub.endpoint_store import EndpointBody

_REGIONS = {
    "aws": {"us-east-1": "N. Virginia", "eu-west-1": "Ireland"},
    "azure": {"eastus": "East US"},
    "gcp": {"us-east4": "N. Virginia", "europe-west4": "Netherlands"},
}
# accelerator, instance type, architecture, per size: (accelerators, CPUs, memory GB, GPU memory GB, dollars an hour)
_CPU_SIZES: dict[str, tuple[int, int, float, int | None, float]] = {
    "x1": (1, 1, 2, None, 0.03),
    "x2": (1, 2, 4, None, 0.07),
    "x4": (1, 4, 8, None, 0.13),
    "x8": (1, 8, 16, None, 0.27),
}
_MACHINES: tuple[tuple[str, str, str, dict[str, tuple[int, int, float, int | None, float]]], ...] = (
    ("cpu", "intel-icl", "Intel Ice Lake", _CPU_SIZES),
    ("cpu", "intel-spr", "Intel Sapphire Rapids", _CPU_SIZES),
    ("gpu", "nvidia-t4", "Nvidia T4", {"x1": (1, 3, 14, 16, 0.5), "x4": (4, 46, 192, 64, 3.0)}),
    ("gpu", "nvidia-l4", "Nvidia L4", {"x1": (1, 7, 30, 24, 0.8), "x4": (4, 46, 186, 96, 3.8)}),
    ("gpu", "nvidia-a10g", "Nvidia A10G", {"x1": (1, 6, 30, 24, 1.0), "x4": (4, 44, 186, 96, 5.0)}),
    ("gpu", "nvidia-l40s", "Nvidia L40S", {"x1": (1, 7, 60, 48, 1.8)}),
    ("gpu", "nvidia-a100", "Nvidia A100", {"x1": (1, 11, 145, 80, 2.5), "x2": (2, 22, 290, 160, 5.0)}),
    ("gpu", "nvidia-h100", "Nvidia H100", {"x1": (1, 23, 240, 80, 4.5)}),
)
_LABELS = {"aws": "Amazon Web Services", "azure": "Microsoft Azure", "gcp": "Google Cloud Platform"}


def vendors() -> list[dict[str, Any]]:
    """Return the vendors with their regions and machines, as the API lists them."""
    return [
        {
            "name": vendor,
            "label": _LABELS[vendor],
            "status": "available",
            "regions": [
                {"name": name, "label": label, "status": "available", "computes": _computes(vendor, name)}
                for name, label in regions.items()
            ],
        }
        for vendor, regions in _REGIONS.items()
    ]


def _computes(vendor: str, region: str) -> list[dict[str, Any]]:
    found = []
    for accelerator, instance, architecture, sizes in _MACHINES:
        for size, (count, cpus, memory, gpu_memory, price) in sizes.items():
            found.append(
                {
                    "id": f"{vendor}-{region}-{instance}-{size}",
                    "accelerator": accelerator,
                    "instanceType": instance,
                    "instanceSize": size,
                    "architecture": architecture,
                    "numAccelerators": count,
                    "numCpus": cpus,
                    "memoryGb": memory,
                    "gpuMemoryGb": gpu_memory,
                    "pricePerHour": price,
                    "status": "available",
                    "quota": {"maxAccelerators": 8, "usedAccelerators": 0},
                }
            )
    return found


def compute_id(body: EndpointBody) -> str:
    """Return the id of the machine that an endpoint asks for."""
    return f"{body.provider.vendor}-{body.provider.region}-{body.compute.instanceType}-{body.compute.instanceSize}"


def problem(body: EndpointBody) -> str | None:
    """Return why the machine that an endpoint asks for does not exist, with the choices; none when it exists."""
    regions = _REGIONS.get(body.provider.vendor)
    if regions is None:
        return f"Unknown vendor {body.provider.vendor[:40]!r}; there are {', '.join(_REGIONS)}"
    if body.provider.region not in regions:
        return f"{body.provider.vendor} has no region {body.provider.region[:40]!r}; there are {', '.join(regions)}"
    wanted = (body.compute.accelerator, body.compute.instanceType, body.compute.instanceSize)
    known = [(kind, instance, size) for kind, instance, _, sizes in _MACHINES for size in sizes]
    if wanted not in known:
        there = ", ".join(f"{instance} {size}" for kind, instance, size in known if kind == wanted[0])
        return f"Compute {' '.join(wanted)[:120]!r} is not available" + (f"; there are {there}" if there else "")
    return None
