"""Training: the same trainer as a child process of this machine (`local_trainer`) or as a job of Vertex AI (`vertex`).

`request` is what both are asked for and what they report. For Vertex AI: `custom_job` (settings in, CustomJob out, no
I/O), `vertex_jobs` (find, create, read, cancel), `bucket` (records there, results back), `logs` (what a failed job
printed), `cost`, and `checks` (what a project lacks). `tasks` is the step of a run as Prefect shows it.
"""

from tasks.training.local_trainer import failure, train_local
from tasks.training.rates import rates
from tasks.training.request import Progress, TrainingRequest, base_model, base_models

__all__ = ["Progress", "TrainingRequest", "base_model", "base_models", "failure", "rates", "train_local"]
