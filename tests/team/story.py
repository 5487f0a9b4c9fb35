"""What a user does in Prefect's UI, by clicks in Chromium: `python -m tests.team.story [--shots DIR]`.

On a team's set-up (PostgreSQL, two workers with folders of their own) with real trainings of the base model `tiny`:
find the run of a push, look at the samples and the loss, retry a run whose last step failed, cancel a training, start
one by the form, pause the watcher and deploy again. Each step is checked by what the page shows and by what the
registry holds afterwards. Takes about ten minutes on two cores; a picture of each step goes to `--shots`.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Error, Locator, Page, expect, sync_playwright
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, temporary_settings
from prefect.settings.legacy import Setting

from local.demo.user import User, draw_images
from local.team.team_folder import OWNER
from tasks.hub import HubSession, list_live
from tests.support.chromium import CHROMIUM
from tests.support.wait import wait_until
from tests.team.stress import be_a_user_of_git, find
from tests.team.team_world import Team, team_folder

REPO_ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600.0
"""Seconds for a training, on a busy machine."""
SLOW = 60_000.0
"""Milliseconds for a page."""
DIALOG = "[role=dialog], [role=alertdialog]"
AUTH = "PREFECT_API_AUTH_STRING"
LONG = 100_000
"""Steps of a training that is to be cancelled."""


class Story:
    """One user in front of one browser.

    Args:
        team: The set-up, which runs.
        page: A page that is signed in.
        shots: Folder for pictures of the pages; None for none.
    """

    def __init__(self, team: Team, page: Page, shots: Path | None) -> None:
        self.team, self.page, self._shots = team, page, shots
        self.user = User(team.world.clone, team.base / "user", lambda command: self.say(f"$ {command}"))
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line with the seconds since the beginning."""
        print(f"{time.monotonic() - self._begun:6.0f} s  {text}", file=sys.stderr, flush=True)

    def show(self, name: str) -> None:
        """Take a picture of the page."""
        if self._shots:
            self.page.wait_for_timeout(1500)  # animations
            self.page.screenshot(path=self._shots / f"{name}.png")

    def press(self, what: Locator, then: Locator) -> None:
        """Click, again if the page was not ready, until something else is visible."""

        def pressed() -> bool:
            if what.is_visible():
                # A canvas is animated on these pages, on a machine without GPU for many seconds.
                what.click(force=True)
            try:
                then.wait_for(state="visible", timeout=10_000)
            except Error:
                return False
            return True

        wait_until(pressed, PATIENCE)

    def named(self, role: str, name: str) -> Locator:
        """Return the last visible element of a role with exactly this name."""
        return self.page.get_by_role(role, name=name, exact=True).last  # type: ignore[arg-type]

    def push(self, name: str, shape: str, **training: int) -> None:
        """Add a concept with five images, and push it."""
        images = self.team.base / "pictures" / name
        draw_images(images, "teal", shape, ("one", "two", "three", "four", "five"), seed=len(name))
        self.user.run("conceptry", "new", name, "--images", str(images), "--token", f"<{name}>", "--init", "circle")
        spec = self.team.world.clone / "concepts" / name / "concept.yaml"
        told = yaml.safe_load(spec.read_text())
        spec.write_text(yaml.safe_dump({**told, "training": {**(told.get("training") or {}), **training}}))
        self.user.run("dvc", "push")
        self.user.commit_and_push(f"Add {name}", "concepts")

    def run_of(self, name: str) -> FlowRun | None:
        """Return the newest training run of a concept, as the server has it."""
        which = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"concept:{name}"]))
        with self.team.using(), get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=which)
        trainings = [run for run in runs if run.deployment_id is not None]
        return max(trainings, key=lambda run: str(run.created), default=None)

    def reaches(self, name: str, *states: str) -> FlowRun:
        """Wait until the newest training run of a concept is in one of these states."""

        def reached() -> FlowRun | None:
            run = self.run_of(name)
            return run if run and run.state_name in states else None

        return wait_until(reached, PATIENCE, every=1) or FlowRun(flow_id=name)

    def states_of_training(self, run: FlowRun) -> list[str]:
        """Return how each attempt of a run ended its task `train`."""
        which = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        with self.team.using(), get_client(sync_client=True) as client:
            tasks = client.read_task_runs(flow_run_filter=which)
        return [str(task.state_name) for task in tasks if task.name.startswith("train")]

    def open_run(self, name: str) -> None:
        """Find the training run of a concept in the list of runs, by a search for its name, and open it."""
        search = self.page.get_by_placeholder("Search by flow run name")
        self.press(self.named("link", "Runs"), search)
        search.fill(name)
        # Prefect's UI shows an error if a run is opened before the search has reached the address.
        self.page.wait_for_url(re.compile(f"flow-run-search={name}"), timeout=SLOW)
        # A run of `release` is named after the concept alone.
        run = self.page.get_by_role("link", name=re.compile(rf"^{name} (v\d+ )?[0-9a-f]{{8}}$")).first
        self.press(run, self.named("tab", "Artifacts"))

    def versions(self, name: str) -> int:
        """Count the versions of a concept on the Hub."""
        with self.team.using() as installation:
            live = list_live(HubSession(installation.hub)).concepts.get(name)
        return len(live.versions) if live else 0

    def reason(self, name: str) -> str:
        """Return why the plan does what it does with a concept."""
        with self.team.using():
            return self.team.world.action(name).reason

    def restart_hub(self, role: str) -> None:
        """Give the team's token other rights, and restart the Hub, which reads them at its start."""
        file = self.team.folder.accounts
        accounts = yaml.safe_load(file.read_text())
        for account in accounts:
            if account["name"] == OWNER:
                account["role"] = role
        file.write_text(yaml.safe_dump(accounts))
        hub = find(self.team, "emulators.hub")
        hub.terminate()
        hub.wait(60)
        with self.team.using() as installation:
            api = HubSession(installation.hub).api
            wait_until(lambda: succeeds(api.whoami), PATIENCE, every=1)


def succeeds(action: Callable[[], object]) -> bool:
    """Whether a function returns."""
    try:
        action()
    except Exception:  # noqa: BLE001 - the server is away in many ways
        return False
    return True


def look(story: Story) -> None:
    """Find the run of a push; see its state, its samples and its loss."""
    story.push("night-light", "crescent")
    run = story.reaches("night-light", "Completed")
    story.open_run("night-light")
    expect(story.page.get_by_text("Completed").first).to_be_visible()
    story.show("1-run")
    for artifact in ("night-light-loss", "night-light-metrics"):
        story.press(story.named("tab", "Artifacts"), story.page.get_by_text(artifact, exact=True))
        pictures = story.page.locator("img[src^='data:']")
        story.press(story.page.get_by_text(artifact, exact=True), pictures.first)
        assert all(width > 0 for width in pictures.evaluate_all("all => all.map(image => image.naturalWidth)"))
        story.show(f"2-{artifact}")
        story.say(f"{artifact}: {pictures.count()} pictures are shown")
        story.page.go_back()
    story.say(f"the run of the push: {run.name}: {run.state and run.state.message}")


def retry(story: Story) -> None:
    """Retry a run whose publication failed: nothing is trained again, whichever worker carries the retry out."""
    story.restart_hub("read")
    story.push("life-buoy", "ring")
    failed = story.reaches("life-buoy", "Failed")
    story.say(f"failed: {failed.state and failed.state.message}")
    story.restart_hub("write")
    story.open_run("life-buoy")
    story.show("3-failed")
    story.press(story.named("button", "Open menu"), story.named("menuitem", "Retry"))
    dialog = story.page.locator(DIALOG)
    story.press(story.named("menuitem", "Retry"), dialog)
    story.show("4-retry")
    dialog.get_by_role("button", name="Retry").click(force=True)
    done = story.reaches("life-buoy", "Completed")
    assert (done.id, done.run_count) == (failed.id, 2), done
    assert story.versions("life-buoy") == 1
    states = story.states_of_training(done)
    assert sorted(states) == ["Cached", "Completed"], f"it was trained again: {states}"
    story.say(f"retried: {done.state and done.state.message}")


def cancel(story: Story) -> None:
    """Cancel a training; the plan says so, and nothing starts it again."""
    story.push("slow-thing", "star", max_steps=LONG)
    story.reaches("slow-thing", "Running")
    story.open_run("slow-thing")
    story.press(story.named("button", "Open menu"), story.named("menuitem", "Cancel"))
    dialog = story.page.locator(DIALOG)
    story.press(story.named("menuitem", "Cancel"), dialog)
    story.show("5-cancel")
    dialog.get_by_role("button", name="Cancel").last.click(force=True)
    run = story.reaches("slow-thing", "Cancelled")
    wait_until(lambda: story.reason("slow-thing") == "TrainingCancelled", PATIENCE, every=2)
    story.open_run("slow-thing")
    story.show("6-cancelled")
    story.say(f"cancelled after {run.total_run_time.total_seconds():.0f} s; the plan says TrainingCancelled")


def start_by_form(story: Story) -> None:
    """Start a training by the form with the name of a concept alone, while the watcher is paused."""
    before = story.run_of("slow-thing")
    spec = story.team.world.clone / "concepts" / "slow-thing" / "concept.yaml"
    spec.write_text(spec.read_text().replace(str(LONG), "200"))
    flip_schedule(story, "checked")
    story.show("7-paused")
    story.page.wait_for_timeout(20_000)  # the watcher asks every ten seconds whether it is switched off
    story.user.commit_and_push("A shorter training", "concepts")
    open_deployment(story, "train-concept")
    story.press(story.named("button", "Run"), story.named("menuitem", "Custom run"))
    story.press(story.named("menuitem", "Custom run"), story.named("button", "Submit"))
    story.page.get_by_label("name", exact=True).last.fill("slow-thing")
    story.show("8-form")
    story.named("button", "Submit").click(force=True)
    wait_until(lambda: (now := story.run_of("slow-thing")) and before and now.id != before.id, PATIENCE, every=1)
    run = story.reaches("slow-thing", "Completed")
    assert "cause:" not in " ".join(run.tags), "the watcher, which is paused, did not start it"
    assert story.versions("slow-thing") == 1
    story.say(f"started by the form: {run.name}: {run.state and run.state.message}")


def open_deployment(story: Story, name: str) -> None:
    """Open the page of a deployment."""
    link = story.page.get_by_role("link", name=name, exact=True).first
    story.press(story.named("link", "Deployments"), link)
    story.press(link, story.named("button", "Run"))


def flip_schedule(story: Story, before: str) -> None:
    """Flip the switch of the watcher's schedule, which is `checked` or `unchecked` before."""
    open_deployment(story, "watcher")
    switch = story.page.get_by_role("switch").first
    expect(switch).to_have_attribute("data-state", before, timeout=SLOW)
    switch.click(force=True)
    after = "unchecked" if before == "checked" else "checked"
    expect(switch).to_have_attribute("data-state", after, timeout=SLOW)
    with story.team.using(), get_client(sync_client=True) as client:
        wait_until(lambda: active_schedules(client) == (1 if after == "checked" else 0), PATIENCE, every=1)


def active_schedules(client: SyncPrefectClient) -> int:
    """Count the schedules of the watcher that are switched on, as the server has them."""
    return sum(schedule.active for schedule in client.read_deployment_by_name("watcher/watcher").schedules)


def deploy_again(story: Story) -> None:
    """Deploy; the pause of the watcher stays, and ends by a click."""
    environment = {**story.team.environment(), **story.team.variables()}
    story.user.environment = {**story.user.environment, **environment}
    story.say(story.user.run("conceptry", "deploy").splitlines()[-1])
    story.page.reload()
    flip_schedule(story, "unchecked")
    story.say("the watcher was still paused after `conceptry deploy`")


@contextmanager
def prefect_of(team: Team) -> Iterator[None]:
    """Use the team's Prefect server in this process."""
    variables = team.variables()
    settings: dict[Setting, Any] = {
        PREFECT_API_URL: variables["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: variables[AUTH],
        PREFECT_API_SSL_CERT_FILE: variables["SSL_CERT_FILE"],
    }
    with temporary_settings(updates=settings):
        yield


@contextmanager
def browser(team: Team, shots: Path | None) -> Iterator[Page]:
    """Yield a page of Prefect's UI that is signed in by the form."""
    setup = team.folder.read()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = chromium.new_context(viewport={"width": 1600, "height": 1000}, ignore_https_errors=True)
        context.set_default_timeout(SLOW)
        page = context.new_page()
        page.goto(setup.prefect_url)
        page.locator("input[type=password]").fill(team.variables()[AUTH])
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Runs", exact=True).wait_for()
        try:
            yield page
        except BaseException:
            if shots:
                page.screenshot(path=shots / "failed.png")
            raise
        finally:
            chromium.close()


CHAPTERS = {
    "look": look, "retry": retry, "cancel": cancel, "start by form": start_by_form, "deploy again": deploy_again,
}  # fmt: skip


def main() -> None:
    """Tell the whole story."""
    parser = argparse.ArgumentParser(prog="python -m tests.team.story", description="A user in Prefect's UI.")
    parser.add_argument("--shots", type=Path, help="folder for pictures of the pages")
    parser.add_argument("--only", nargs="+", choices=CHAPTERS, help="steps to do; all of them without it")
    given = parser.parse_args()
    be_a_user_of_git()
    if given.shots:
        given.shots.mkdir(parents=True, exist_ok=True)
    with team_folder() as base:
        team = Team(base, REPO_ROOT, seconds=0)
        team.pythonpath = str(REPO_ROOT)  # the real trainer
        team.world.push("begin")
        team.start()
        try:
            with prefect_of(team), browser(team, given.shots) as page:
                story = Story(team, page, given.shots)
                for name in given.only or CHAPTERS:
                    story.say(name)
                    CHAPTERS[name](story)
        finally:
            team.stop()


if __name__ == "__main__":
    main()
