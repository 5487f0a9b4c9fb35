"""What people are told of: each automation fires on what happens, to a notification block or in the event feed."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from itertools import count
from uuid import UUID

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import Automation
from prefect.states import Failed

from conceptry.errors import SettingsError
from flows.automations import (
    NOTICES,
    compare_automations,
    declared_automations,
    deploy_automation,
    notification_block,
)
from flows.keep_alive import PLACE, STATE
from flows.liveness import Deadlines
from flows.train_concept import train_concept
from flows.training_runs import training_runs as runs_of
from flows.watch import watch
from tasks.events import EVENTS, emit, emit_of_installation, set_source
from tests.support.answering_server import Answer, answering
from tests.support.losses import make_losses
from tests.support.registry_world import World, events_of, set_state, training_runs
from tests.support.wait import wait_until
from trainer.metrics import METRICS_FILE, read_metrics, write_metrics

SEEDS = count(50_000, 100)
NAMES = count()
AT_ONCE = timedelta(seconds=-3)
Told = list[dict[str, str]]


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    del prefect_api
    with get_client(sync_client=True) as opened:
        yield opened


def deploy(client: SyncPrefectClient, installation: str, block: UUID | None) -> list[str]:
    """Deploy the automations of an installation; what was said of each."""
    changes = compare_automations(client, declared_automations(installation, "", block), installation)
    for change in changes:
        deploy_automation(client, change)
    return [str(change) for change in changes]


def automations(client: SyncPrefectClient, installation: str) -> dict[str, Automation]:
    """The automations of an installation by title."""
    found = client.read_resource_related_automations(f"conceptry.installation.{installation}")
    return {each.name.removeprefix("conceptry: "): each for each in found}


@pytest.fixture
def told(world: World, client: SyncPrefectClient) -> Iterator[Told]:
    """What a webhook received from the automations of the world."""
    received: Told = []

    def answer(path: str, headers: Message, body: bytes) -> Answer:
        del path, headers
        received.append(json.loads(body))
        return 200, "text/plain", b"thanks"

    with answering(answer) as port:
        name = f"webhook-{next(NAMES)}"
        hook = CustomWebhookNotificationBlock(
            name=name, url=f"http://127.0.0.1:{port}/", json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        hook.save(name, _sync=True)  # type: ignore[call-arg]
        deploy(client, world.installation.id, notification_block(client, f"custom-webhook/{name}"))
        yield received
        for each in automations(client, world.installation.id).values():
            client.delete_automation(each.id)


def new_concept(world: World, name: str = "told-dog", *, push: bool = True) -> None:
    world.write(name, seed=next(SEEDS), push=push)


def training_fails(world: World) -> None:
    new_concept(world)
    world.push()
    watch()
    [run] = training_runs(world.action("told-dog").fingerprint or "")
    set_state(run, Failed(message="out of memory"))
    watch()


def gate_rejects(world: World) -> None:
    new_concept(world)
    world.push()
    train_concept(**world.trained("told-dog", loss=0.2))


def gate_cannot_decide(world: World) -> None:
    new_concept(world)
    world.push()
    parameters = world.trained("told-dog")
    metrics = world.run_folder(parameters["fingerprint"]).output / METRICS_FILE
    write_metrics(metrics, read_metrics(metrics).model_copy(update={"loss": make_losses(0.09, noise=0.6)}))
    train_concept(**parameters)


def images_are_missing_for_a_day(world: World) -> None:
    new_concept(world, push=False)
    world.push()
    watch()
    waits = world.installation.work.waits
    since = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
    waits.write_text(json.dumps({"told-dog": {"since": since}}))
    watch()
    watch()
    assert events_of("told-dog").count("overdue") <= 1, "once for each wait"


def host_is_lost(world: World) -> None:
    new_concept(world)
    world.push()
    watch()
    [run] = training_runs(world.action("told-dog").fingerprint or "")
    set_state(run, "run")
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
        client.update_flow_run_labels(run.id, {PLACE: "another-machine:/work", STATE: str(state.id if state else "")})
    set_source(world.installation.id)
    soon = Deadlines(running=AT_ONCE, observed=timedelta(seconds=1))
    with runs_of(world.installation, settle=True, deadlines=soon) as runs:
        assert runs.active() == []


def budget_is_spent(world: World) -> None:
    for name in ("told-dog", "told-cat", "told-fox"):
        new_concept(world, name)
    (world.clone / "conceptry.yaml").write_text("budget: {runs: 1}\n")
    world.push()
    watch()


def branch_is_deleted(world: World) -> None:
    new_concept(world)
    world.push()
    train_concept(**world.trained("told-dog"))
    world.api().delete_branch("local/told-dog", branch="v1")
    watch()


def space_is_edited(world: World) -> None:
    new_concept(world)
    world.push()
    train_concept(**world.trained("told-dog"))
    world.api().upload_file(
        path_or_fileobj=b"# mine\n", path_in_repo="app.py", repo_id="local/told-dog", repo_type="space"
    )
    watch()


@pytest.mark.parametrize(
    ("happens", "title", "words"),
    [
        (training_fails, "training failed", "out of memory"),
        (gate_rejects, "version rejected", "held-out loss"),
        (gate_cannot_decide, "version undecided", "Add images"),
        (images_are_missing_for_a_day, "waits for data", "Run `dvc push`"),
        (host_is_lost, "host lost", "another-machine"),
        (budget_is_spent, "cost over budget", "1 of 1 runs"),
        (branch_is_deleted, "drift repaired", "the branch v1 was deleted"),
        (space_is_edited, "drift repaired", "the Space was edited manually"),
    ],
)
def test_what_happens_is_told_to_the_block(
    world: World, told: Told, happens: Callable[[World], None], title: str, words: str
) -> None:
    about = world.installation.id if title == "cost over budget" else "told-dog"
    subject = f"Conceptry: {about}: {title}"
    happens(world)
    wait_until(lambda: subject in [one["subject"] for one in told], timeout=120)
    [body] = [one["body"] for one in told if one["subject"] == subject]
    notice = next(notice for notice in NOTICES if notice.title == title)
    assert words in body
    assert notice.step in body


def triggered(client: SyncPrefectClient, automation: UUID) -> int:
    """How often the feed says that an automation was triggered."""
    which = {
        "event": {"name": ["prefect.automation.triggered"]},
        "resource": {"id": [f"prefect.automation.{automation}"]},
    }
    response = client._client.post("/events/filter", json={"filter": which, "limit": 50})
    return len(response.json()["events"])


def emit_all(installation: str) -> None:
    """Emit one event for each automation."""
    set_source(installation)
    for notice in NOTICES:
        if notice.event == "over-budget":
            emit_of_installation("over-budget", cause="the budget is spent")
        else:
            emit("feed-dog", notice.event, cause="as the test says")


def test_without_a_block_each_shows_in_the_feed_and_those_of_others_do_not(client: SyncPrefectClient) -> None:
    mine, other = "mine-0123456789", "other-0123456789"
    assert all(line.endswith("created") for line in deploy(client, mine, None))
    assert all(line.endswith("unchanged") for line in deploy(client, mine, None))
    deploy(client, other, None)
    emit_all(other)
    emit_all(mine)
    for each in (mine, other):
        found = automations(client, each)
        assert found.keys() == {notice.title for notice in NOTICES}
        for automation in found.values():
            wait_until(lambda one=automation: triggered(client, one.id), timeout=120)  # type: ignore[misc]
            assert triggered(client, automation.id) == 1, automation.name


def test_an_automation_that_a_user_switched_off_stays_off(client: SyncPrefectClient) -> None:
    mine = "switched-0123456789"
    deploy(client, mine, None)
    client.pause_automation(automations(client, mine)["host lost"].id)
    webhook = CustomWebhookNotificationBlock(name="off", url="http://127.0.0.1:9/")
    block = webhook.save("off", _sync=True)  # type: ignore[call-arg]
    said = deploy(client, mine, block)
    assert "automation 'conceptry: host lost': changed: actions; kept as set by users: switched off" in said
    after = automations(client, mine)
    assert [title for title, each in after.items() if not each.enabled] == ["host lost"]
    assert {each.actions[0].type for each in after.values()} == {"send-notification"}
    assert all("unchanged" in line for line in deploy(client, mine, block))


def test_a_block_that_cannot_be_used_is_one_error(client: SyncPrefectClient) -> None:
    with pytest.raises(SettingsError, match="there is no block slack-webhook/nobody"):
        notification_block(client, "slack-webhook/nobody")
    Secret(value="x").save("no-hook", _sync=True)  # type: ignore[call-arg]
    with pytest.raises(SettingsError, match="the block secret/no-hook sends no notifications"):
        notification_block(client, "secret/no-hook")


def test_every_notice_is_about_an_event_that_exists() -> None:
    assert {notice.event for notice in NOTICES} <= {*EVENTS, "over-budget"}
