"""In which type frozen weights are stored and multiplied.

A matrix product in bfloat16 needs a machine that has one: tensor cores since Ampere, AMX or AVX512_BF16 on CPUs.
Elsewhere it goes by way of float32, which takes longer than float32 itself. The tensor cores before (V100, T4) multiply
float16, whose numbers are as many but end at 65,504 and at 6e-8: see `layers.HEADROOM` and `objective.gradients`.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

DTYPES = ("bfloat16", "float16", "float32")
_CPU_FEATURES = frozenset({"amx_bf16", "avx512_bf16"})


def storage(kind: str) -> str:
    """Choose of DTYPES what this machine multiplies fastest; `tiny` gains nothing and stays float32."""
    if kind == "tiny":
        return "float32"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return of_gpu(tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)))
    return "bfloat16" if _CPU_FEATURES & cpu_features() else "float32"


def of_gpu(capability: tuple[int, int]) -> str:
    """Choose of DTYPES for a GPU of NVIDIA's by its compute capability: 7.0 is V100, 7.5 T4, 8.0 A100, 9.0 H100."""
    if capability >= (8, 0):
        return "bfloat16"
    return "float16" if capability >= (7, 0) else "float32"


def cpu_features(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Read the feature flags of the first CPU; empty where the system does not list them."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())
