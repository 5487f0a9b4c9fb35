"""Prefect tasks that read git."""

from prefect import task

from tasks.git.desired_concepts import read_desired
from tasks.retries import RETRY_TRANSIENT

read_git = task(name="read git", tags=["git"], **RETRY_TRANSIENT)(read_desired)
