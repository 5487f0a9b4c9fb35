"""In which type frozen weights are stored and multiplied.

A matrix product in bfloat16 needs a machine that has one: tensor cores since Ampere, AMX or AVX512_BF16 on CPUs.
Elsewhere it goes by way of float32, which takes longer than float32 itself.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

_CPU_FEATURES = frozenset({"amx_bf16", "avx512_bf16"})


def storage(kind: str) -> str:
    """Choose "bfloat16" where this machine multiplies it, else "float32"; `tiny` gains nothing and stays float32."""
    if kind == "tiny":
        return "float32"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "bfloat16" if capability >= (8, 0) else "float32"
    return "bfloat16" if _CPU_FEATURES & cpu_features() else "float32"


def cpu_features(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Read the feature flags of the first CPU; empty where the system does not list them."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())
