"""What `conceptry up` starts in a repository that never heard of it; conftest.py ends it with Ctrl-C."""

import re

import psutil
import pytest

from local.child_process import answers
from tests.support.library import Library

pytestmark = pytest.mark.e2e


def test_servers_answer_at_the_addresses_that_it_prints(library: Library) -> None:
    setup = library.setup
    assert setup.repo == str(library.clone)
    assert {setup.prefect_ui, setup.hub_endpoint} <= set(re.findall(r"http://127\.0\.0\.1:\d+", library.greeting))
    assert answers(setup.prefect_ui)
    assert answers(setup.hub_endpoint)


def test_a_second_up_is_refused(library: Library) -> None:
    again = library.result("up")
    assert again.returncode == 1
    assert "open in another terminal" in again.stderr


def test_the_hub_runs_without_the_secrets_of_the_set_up(library: Library) -> None:
    hub = str(library.clone / ".conceptry" / "hub")
    seen = [one.info for one in psutil.process_iter(["cmdline", "environ"])]
    found = [one["environ"] for one in seen if {hub, "emulators.hub"} <= set(one["cmdline"] or ())]
    assert found
    assert [name for environment in found for name in environment if name.endswith(("_TOKEN", "_LOGIN"))] == []
