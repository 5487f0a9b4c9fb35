"""The machines that the Endpoints API offers, as the Deploy tab lets people choose one, with the API's own prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from huggingface_hub import InferenceEndpointHardware

VENDORS = {"aws": "Amazon Web Services", "azure": "Microsoft Azure", "gcp": "Google Cloud"}
Hardware = Sequence[InferenceEndpointHardware]


def machines(hardware: Hardware, wanted: Mapping[str, Any]) -> tuple[gr.Dropdown, gr.Dropdown, gr.Dropdown]:
    """Offer provider, region and machine to choose from; `wanted` is preselected where it can be had."""
    vendors = list(dict.fromkeys(machine.vendor for machine in hardware))
    vendor = wanted.get("vendor") if wanted.get("vendor") in vendors else next(iter(vendors), None)
    regions = list(dict.fromkeys(machine.region for machine in hardware if machine.vendor == vendor))
    region = wanted.get("region") if wanted.get("region") in regions else next(iter(regions), None)
    here = [machine for machine in hardware if (machine.vendor, machine.region) == (vendor, region)]
    return (
        gr.Dropdown([(VENDORS.get(name, name), name) for name in vendors], value=vendor),
        gr.Dropdown(regions, value=region),
        gr.Dropdown([(describe(machine), machine.id) for machine in here], value=pick(here, wanted)),
    )


def pick(hardware: Hardware, wanted: Mapping[str, Any]) -> str | None:
    """Pick the machine that is most like the wanted one, the cheapest of equals; return its id."""

    def likeness(machine: InferenceEndpointHardware) -> tuple[float, ...]:
        keys = ("vendor", "region", "instance_type", "instance_size", "accelerator")
        same = [getattr(machine, key) == wanted[key] for key in keys if key in wanted]
        return (*same, -machine.price_per_hour)

    return max(hardware, key=likeness).id if hardware else None


def describe(machine: InferenceEndpointHardware) -> str:
    """Describe a machine and its price in one line."""
    count = f"{machine.num_accelerators} × " if machine.accelerator == "gpu" and machine.num_accelerators > 1 else ""
    memory = f"{machine.gpu_memory_gb or machine.memory_gb:g} GB"
    cores = f"{machine.num_cpus} vCPU, " if machine.accelerator == "cpu" and machine.num_cpus else ""
    status = "" if machine.status == "available" else f" ({machine.status.replace('_', ' ')})"
    return f"{count}{machine.architecture} · {cores}{memory} · ${machine.price_per_hour:g}/h{status}"


def price_html(hardware: Hardware, machine: str | None, least: float | None, most: float | None) -> str:
    """Render what an order will cost, by the API's own prices."""
    found = next((one for one in hardware if one.id == machine), None)
    if found is None or least is None or most is None:
        return ""
    low, high = (f"${found.price_per_hour * replicas:.2f}" for replicas in (least, most))
    idle = "nothing while it sleeps" if least == 0 else f"{low} an hour at least"
    quota = f", quota {found.used_accelerators} of {found.max_accelerators} used" if found.max_accelerators else ""
    return f'<p class="price"><strong>{high}</strong> an hour at most, {idle}{quota}.</p>'
