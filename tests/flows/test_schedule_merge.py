"""Three-way merge of schedules: who changed what since the last deploy decides."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from flows.schedule_merge import (
    LastSchedule,
    ScheduleChange,
    ScheduleFields,
    Timing,
    merge_paused,
    merge_schedules,
    remembered,
)

CREATED = datetime(2026, 11, 1, tzinfo=UTC)


def declared(seconds: float = 60, *, active: bool = True) -> ScheduleFields:
    """A schedule of prefect.yaml."""
    return ScheduleFields(timing=Timing(interval=seconds), active=active, parameters={})


def found(seconds: float = 60, *, active: bool = True, slug: str | None = "interval") -> DeploymentSchedule:
    """A schedule on the server, which counts from the moment of its creation."""
    schedule = IntervalSchedule(interval=timedelta(seconds=seconds), anchor_date=CREATED)
    return DeploymentSchedule(schedule=schedule, active=active, slug=slug)


def last(seconds: float = 60) -> dict[str, LastSchedule]:
    return {"interval": LastSchedule(declared=declared(seconds), found=ScheduleFields.of(found(seconds)))}


def merge(yaml: ScheduleFields, there: DeploymentSchedule, before: dict[str, LastSchedule]) -> ScheduleChange:
    [change] = merge_schedules({"interval": yaml}, [there], before)
    return change


@pytest.mark.parametrize(
    ("yaml", "server", "deployed", "verdict"),
    [
        (60, 60, 60, "unchanged"),
        (30, 60, 60, "update"),
        (60, 90, 60, "keep"),
        (30, 90, 60, "keep"),
        (90, 90, 60, "unchanged"),
        (60, 60, None, "unchanged"),
        (60, 90, None, "keep"),
    ],
)
def test_the_interval_follows_prefect_yaml_until_a_user_changes_it(
    yaml: float, server: float, deployed: float | None, verdict: str
) -> None:
    change = merge(declared(yaml), found(server), {} if deployed is None else last(deployed))
    assert (change.fields or {})["timing"] == verdict
    assert bool(change.changes) == (verdict == "update")
    assert bool(change.kept) == (verdict == "keep")


def test_a_schedule_that_was_switched_off_stays_off_and_gets_the_new_interval() -> None:
    change = merge(declared(30), found(60, active=False), last(60))
    assert change.of("update") == ("timing",)
    assert change.of("keep") == ("active",)


def test_another_kind_of_schedule_is_a_users_change() -> None:
    cron = DeploymentSchedule(schedule=CronSchedule(cron="0 3 * * *", timezone="Europe/Berlin"), slug="interval")
    change = merge(declared(), cron, last())
    assert change.of("keep") == ("timing",)
    assert "cron 0 3 * * * Europe/Berlin (prefect.yaml: every 60 s)" in change.kept[0]


def test_a_kept_field_stays_a_users_at_every_later_deploy() -> None:
    before = last(60)
    for seconds in (60, 30, 20):
        change = merge(declared(seconds), found(90), before)
        assert change.of("keep") == ("timing",)
        left = remembered(change, before["interval"], ScheduleFields.of(found(90)))
        assert left is not None
        before = {"interval": left}
    # The user sets it back to what was deployed: it follows prefect.yaml again.
    assert merge(declared(20), found(60), before).of("update") == ("timing",)


def test_an_update_is_the_base_of_the_next_merge() -> None:
    change = merge(declared(30), found(60), last(60))
    left = remembered(change, last(60)["interval"], ScheduleFields.of(found(30)))
    assert left is not None
    assert merge(declared(10), found(30), {"interval": left}).of("update") == ("timing",)
    assert merge(declared(10), found(60), {"interval": left}).of("keep") == ("timing",)


def test_schedules_that_users_added_or_deleted_stay_so() -> None:
    [change, added] = merge_schedules({"interval": declared()}, [found(5, slug=None)], last())
    assert (change.kind, change.kept) == ("leave", ("schedule interval deleted",))
    assert (added.kind, added.found is not None) == ("leave", True)
    assert "every 5 s, active (added by a user)" in added.kept[0]


def test_a_schedule_that_prefect_yaml_drops_goes_unless_a_user_changed_it() -> None:
    assert [change.kind for change in merge_schedules({}, [found()], last())] == ["delete"]
    assert [change.kind for change in merge_schedules({}, [found(90)], last())] == ["leave"]
    assert [change.kind for change in merge_schedules({}, [found()], {})] == ["leave"]


def test_a_new_schedule_is_created() -> None:
    assert [change.kind for change in merge_schedules({"interval": declared()}, [], {})] == ["create"]


@pytest.mark.parametrize(
    ("yaml", "server", "deployed", "after"),
    [
        (False, None, None, False),
        (False, True, False, True),
        (True, False, True, False),
        (True, False, False, True),
        (False, True, True, False),
        (False, True, None, True),
    ],
)
def test_a_pause_that_a_user_set_stays(yaml: bool, server: bool | None, deployed: bool | None, after: bool) -> None:
    assert merge_paused(yaml, server, deployed) is after


def test_what_an_older_release_of_up_left_is_no_users_choice() -> None:
    assert merge_paused(False, True, None, unknown="update") is False
    [change] = merge_schedules({"interval": declared(10)}, [found(60)], {}, unknown="update")
    assert change.of("update") == ("timing",)
