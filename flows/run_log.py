"""The log of a run: what modules without Prefect log within a run is shown with it."""

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


def attach_run_log() -> None:
    """Show the isolated errors of concepts in the log of the run that met them."""
    logger = logging.getLogger("conceptry")
    if not any(isinstance(handler, RunLog) for handler in logger.handlers):
        logger.addHandler(RunLog())
