"""Training with the same trainer as a child process (`local_trainer`) or as a job on Vertex AI (`vertex`).

`training_request` contains the request and the progress of both. For Vertex AI: `custom_job` (builds a CustomJob from
settings, without I/O), `vertex_jobs` (find, create, read and cancel a job; `job_snapshot` is its state, `job_places`
records where jobs were created), `bucket` (upload of records, download of results), `job_logs` and `job_failure` (why a
job failed), `cost`, and `checks` (requirements of a project). `tasks` contains the Prefect task.
"""

from tasks.base_models import base_model, base_models, base_of, preset_of
from tasks.training.local_trainer import failure, train_local
from tasks.training.rates import rates
from tasks.training.training_request import Progress, TrainingRequest

__all__ = [
    "Progress",
    "TrainingRequest",
    "base_model",
    "base_models",
    "base_of",
    "failure",
    "preset_of",
    "rates",
    "train_local",
]
