"""The log of a run: what modules without Prefect log is shown with it, and each line of a task begins with its name."""

import logging

from prefect import get_run_logger
from prefect.exceptions import MissingContextError


class RunLog(logging.Handler):
    """Handler that passes records to the logger of the current run; outside of a run, to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record."""
        try:
            get_run_logger().log(record.levelno, "%s", record.getMessage(), exc_info=record.exc_info)
        except MissingContextError:
            if logging.lastResort is not None:
                logging.lastResort.handle(record)


class StepName(logging.Filter):
    """Filter that puts the name of the task, the step of the run, before each line that a task logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the message of a record; keep every record."""
        step = getattr(record, "task_name", None)
        if step and not getattr(record, "has_step", False):
            record.msg, record.args, record.has_step = f"{step}: {record.getMessage()}", (), True
        return True


def attach_run_log() -> None:
    """Show the isolated errors of concepts in the log of the run that met them, and say the step of each line."""
    logger, steps = logging.getLogger("conceptry"), logging.getLogger("prefect.task_runs")
    if not any(isinstance(handler, RunLog) for handler in logger.handlers):
        logger.addHandler(RunLog())
    if not any(isinstance(one, StepName) for one in steps.filters):
        steps.addFilter(StepName())
