"""Each line that a task logs begins with the name of the task."""

import pytest
from prefect import flow, get_run_logger, task

from flows.run_log import attach_run_log


@task(name="weigh")
def weigh() -> None:
    get_run_logger().info("%d g", 7)


@flow(name="kitchen")
def kitchen() -> None:
    attach_run_log()
    attach_run_log()
    get_run_logger().info("it is open")
    weigh()


@pytest.mark.usefixtures("prefect_api")
def test_a_line_says_its_step(caplog: pytest.LogCaptureFixture) -> None:
    kitchen()
    lines = [record.getMessage() for record in caplog.records]
    assert "it is open" in lines
    assert "weigh: 7 g" in lines
    assert "weigh: Finished in state Completed()" in lines
