"""What `conceptry up` starts in a repository that never heard of it; conftest.py ends it with Ctrl-C."""

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from local.child_process import answers
from local.prefect_settings import prefect_of
from tests.support.chromium import needs_chromium, page_text
from tests.support.foreign_page import attack, attacks
from tests.support.library import Library
from tests.support.wait import wait_until

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
    assert [
        name for environment in found for name in environment if name.endswith(("_TOKEN", "_LOGIN", "_AUTH_STRING"))
    ] == []


def test_the_server_schedules_runs_of_every_kind(library: Library) -> None:
    """Releases of Prefect, SQLAlchemy and whenever that install together may schedule none of one kind."""
    kinds = [
        IntervalSchedule(interval=timedelta(days=7)),
        CronSchedule(cron="0 4 * * 1", timezone="Europe/Berlin"),
        RRuleSchedule(rrule="FREQ=WEEKLY", timezone="Europe/Berlin"),
    ]
    with prefect_of(library.setup_folder), get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("scheduled")
        made = [
            client.create_deployment(flow, f"test-{number}", schedules=[DeploymentScheduleCreate(schedule=kind)])
            for number, kind in enumerate(kinds)
        ]
        try:
            for deployment in made:
                chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
                wait_until(lambda chosen=chosen: client.read_flow_runs(deployment_filter=chosen), every=0.5)
        finally:
            for deployment in made:
                client.delete_deployment(deployment)


@needs_chromium
def test_a_foreign_page_is_refused_at_every_port(library: Library, tmp_path: Path) -> None:
    """A page in the user's browser could run a shell as the worker by changing a deployment's `pull_steps`."""
    family = psutil.Process(library.up).children(recursive=True)
    opened = {process: listening(process) for process in family}
    setup = library.setup
    tries = [one for ports in opened.values() for port in ports for one in attacks(f"http://127.0.0.1:{port}/")]
    tries += attacks(f"{setup.prefect_api}/deployments/filter")
    tries += attacks(f"{setup.prefect_api}/work_pools/", {"name": "theirs", "type": "process"})
    tries += attacks(f"{setup.hub_endpoint}/api/repos/create", {"name": "theirs"}, token=setup.hub_token)

    read, statuses = attack(tries, tmp_path)
    assert read == []
    # The Hub's process also listens for Spaces and endpoints, and passes on what it does not refuse.
    servers = {"local.prefect_server", "emulators.hub"}
    ours = {port for process, ports in opened.items() if servers & set(process.cmdline()) for port in ports}
    assert {setup.prefect_port, setup.hub_port} <= ours
    answers = {url: found for url, found in statuses.items() if urlsplit(url).port in ours}
    assert {urlsplit(url).port for url in answers} == ours
    assert {url: found for url, found in answers.items() if any(not 400 <= status < 500 for status in found)} == {}


def listening(process: psutil.Process) -> set[int]:
    """Return the ports that a process listens on, all of them on this machine only."""
    addresses = [one.laddr for one in process.net_connections("inet") if one.status == "LISTEN"]
    assert {address.ip for address in addresses} <= {"127.0.0.1"}
    return {address.port for address in addresses}


@needs_chromium
def test_the_link_that_it_prints_signs_in_to_prefect(library: Library, tmp_path: Path) -> None:
    printed = re.search(r"http://\S+/sign-in#\S+", library.greeting)
    assert printed
    assert "admin:pass" in page_text(library.setup.prefect_ui, tmp_path / "stranger"), "Prefect's form of sign-in"
    assert "Work Pools" in page_text(printed[0], tmp_path / "user")
