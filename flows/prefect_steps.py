"""The I/O functions of a reconcile as Prefect tasks."""

from functools import partial

from prefect import task

from flows.drift import find_drift
from flows.steps import Steps
from tasks.dvc.tasks import list_images_task
from tasks.events import emit
from tasks.git.tasks import read_git
from tasks.hub import tasks as hub_tasks
from tasks.retries import RETRY_TRANSIENT
from tasks.space.tasks import render

PREFECT = Steps(
    read_git=read_git,
    list_images=list_images_task,
    list_hub=hub_tasks.list_hub,
    read_hub=hub_tasks.read_hub,
    find_drift=task(name="find drift", tags=["hub"], **RETRY_TRANSIENT)(partial(find_drift, in_turn=True)),
    repair=hub_tasks.repair,
    update_card=hub_tasks.update_card,
    judge=hub_tasks.judge_versions,
    render=render,
    push=hub_tasks.push,
    pause=hub_tasks.pause,
    hide=hub_tasks.hide,
    emit=emit,
)
"""Prefect tasks with retries; of many concepts some repos are inspected in turn."""
