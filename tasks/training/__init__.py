"""Training: the same trainer as a child process of this machine (`local.py`) or as a job of Vertex AI (`vertex.py`).

`request.py` is what both are asked for and what they tell. For Vertex AI: `settings.py` (all that can be set, checked
together), `job.py` (settings in, CustomJob out, no I/O), `jobs.py` (find, create, look, cancel), `bucket.py` (records
there, results back), `logs.py` (what a failed job said), `cost.py`, and `checks.py` (what a project lacks).
"""

from tasks.training.local import failure, train_local
from tasks.training.request import Progress, TrainingRequest, base_model, read_results

__all__ = ["Progress", "TrainingRequest", "base_model", "failure", "read_results", "train_local"]
