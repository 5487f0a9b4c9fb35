"""Import TensorFlow without the packages that it takes along if they are installed and that no training uses.

TensorFlow imports each of them where a failure is caught: Keras 3 to register optimizers, the others for data and
clusters of other kinds. Together they are a quarter of the seconds of its import.
"""

from __future__ import annotations

import sys
from types import ModuleType

_UNUSED = ("keras", "tf_keras", "h5py", "scipy", "googleapiclient")


def import_tensorflow() -> None:
    """Import TensorFlow, unless it is imported already; the unused packages can be imported afterwards as ever."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    hidden = [name for name in _UNUSED if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        import tensorflow  # noqa: F401
    finally:
        for name in hidden:
            del modules[name]
