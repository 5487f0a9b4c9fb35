"""What runs on the accelerator: `python -m trainer`. Knows no Prefect, DVC, Hub or cloud."""

import os

# TensorFlow turns oneDNN on by itself only for CPUs with AVX512; the others gain as much. It is read when TensorFlow is
# imported, and a seed gives the same picture only where trainer, Space and endpoint multiply alike.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
