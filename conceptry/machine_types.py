"""Combinations of machine type and accelerator that Vertex AI offers for training.

https://cloud.google.com/vertex-ai/docs/training/configure-compute lists them.
"""

import re

# Machine types with built-in accelerators. Their count is the number in a suffix such as "-8g", else as listed.
BUILT_IN: dict[str, tuple[str, dict[str, int]]] = {
    "a2-highgpu": ("NVIDIA_TESLA_A100", {"1g": 1, "2g": 2, "4g": 4, "8g": 8}),
    "a2-megagpu": ("NVIDIA_TESLA_A100", {"16g": 16}),
    "a2-ultragpu": ("NVIDIA_A100_80GB", {"1g": 1, "2g": 2, "4g": 4, "8g": 8}),
    "a3-highgpu": ("NVIDIA_H100_80GB", {"1g": 1, "2g": 2, "4g": 4, "8g": 8}),
    "a3-megagpu": ("NVIDIA_H100_MEGA_80GB", {"8g": 8}),
    "a3-ultragpu": ("NVIDIA_H200_141GB", {"8g": 8}),
    "a4-highgpu": ("NVIDIA_B200", {"8g": 8}),
    "g2-standard": ("NVIDIA_L4", {"4": 1, "8": 1, "12": 1, "16": 1, "24": 2, "32": 1, "48": 4, "96": 8}),
}
# Accelerators that can be attached to N1 machines, and the counts allowed.
ATTACHED: dict[str, tuple[int, ...]] = {
    "NVIDIA_TESLA_T4": (1, 2, 4),
    "NVIDIA_TESLA_V100": (1, 2, 4, 8),
    "NVIDIA_TESLA_P100": (1, 2, 4),
    "NVIDIA_TESLA_P4": (1, 2, 4),
}
FLEXIBLE = frozenset(
    {"NVIDIA_L4", "NVIDIA_TESLA_A100", "NVIDIA_A100_80GB", "NVIDIA_H100_80GB", "NVIDIA_H100_MEGA_80GB"}
    | {"NVIDIA_H200_141GB", "NVIDIA_B200"}
)
"""Accelerators that flex start (Dynamic Workload Scheduler) offers."""
_TYPE = re.compile(r"[a-z][a-z0-9]*-[a-z0-9]+-[a-z0-9]+")


def misfits(machine_type: str, accelerator: str | None, count: int) -> list[str]:
    """Return what is wrong with a combination, in words, each message beginning with its setting; empty if it is valid.

    Args:
        machine_type: Machine type, for example a2-highgpu-1g.
        accelerator: Accelerator type, for example NVIDIA_TESLA_A100; None for a machine without.
        count: Number of accelerators in one machine.
    """
    family, _, size = machine_type.rpartition("-")
    if not _TYPE.fullmatch(machine_type):
        return [f"machine_type: {machine_type!r} is not a machine type, for example a2-highgpu-1g"]
    if (accelerator is None) != (count == 0):
        return [f"accelerator_count: {count} does not go with accelerator_type {accelerator or '(none)'}"]
    if family in BUILT_IN:
        built_in, sizes = BUILT_IN[family]
        if size not in sizes:
            return [f"machine_type: {family} comes as {', '.join(f'{family}-{one}' for one in sizes)}"]
        if (accelerator, count) != (built_in, sizes[size]):
            return [f"accelerator_type: {machine_type} has {sizes[size]} x {built_in}, not {count} x {accelerator}"]
        return []
    if accelerator is None:
        return []
    if not machine_type.startswith("n1-"):
        return [f"accelerator_type: {accelerator} cannot be attached to {machine_type}"]
    if count not in ATTACHED.get(accelerator, ()):
        known = "; ".join(f"{name} x {', '.join(map(str, counts))}" for name, counts in ATTACHED.items())
        return [f"accelerator_type: {count} x {accelerator} cannot be attached to N1 machines ({known})"]
    return []
