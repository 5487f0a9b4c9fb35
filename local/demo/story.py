"""Story of the demo: a user commits images to git and DVC, and the registry trains, publishes and serves them.

Each chapter ends with facts that the observer read from the Prefect server or the Hub. The user continues to work while
the machine trains: the second concept is added during the training of the first one.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from conceptry.version import Version
from local.demo.observer import Observer
from local.demo.story_console import StoryConsole, StoryError
from local.demo.subjects import LIFE_BUOY, NAMES, NIGHT_LIGHT, REPAINTED, Subject
from local.demo.user import User, draw_images
from local.post_receive_hook import install
from local.servers import Stack
from local.setup_folder import Folder, Setup

WATCH_EVERY = 15
"""Seconds between two scheduled watches; the origin's hook reports a push immediately."""


def places(folder: Folder) -> tuple[Path, Path, Path]:
    """Return the folders of the origin, the DVC remote and the user's clone."""
    return folder.root / "origin.git", folder.root / "dvc-remote", folder.root / "ada"


def setup(folder: Folder) -> Setup:
    """Return the set-up of the demo's folder."""
    origin, _, _ = places(folder)
    return Setup(repo=str(origin), watch_every=WATCH_EVERY)


class Story:
    """Chapters of the story, in order; each raises StoryError if one of its expectations fails."""

    def __init__(self, folder: Folder, stack: Stack, console: StoryConsole) -> None:
        self._folder, self._stack, self._console = folder, stack, console
        self._origin, self._remote, clone = places(folder)
        self._ada = User(clone, folder.root / "dvc-config", console.command)
        self._images = folder.root / "pictures"
        self.versions: list[tuple[Subject, Version]] = []

    def prepare(self) -> None:
        """Prepare git, DVC and the first concept while the servers start."""
        console, ada = self._console, self._ada
        console.chapter("A place to work: git, a DVC remote, a Hub and Prefect, all in one folder")
        self._folder.root.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(1) as background:
            servers: Future[float] = background.submit(self._start_servers)
            self._make_repository()
            console.fact(f"git and DVC are ready in {self._folder.root.name}/; the servers are still starting")
            console.chapter(f"Ada adds a concept: {NIGHT_LIGHT.token}, a {NIGHT_LIGHT.colour} {NIGHT_LIGHT.shape}")
            self._add(NIGHT_LIGHT)
            ada.run("dvc", "push")
            with console.waiting("Prefect, the local Hub and the watcher are starting"):
                seconds = servers.result()
        console.fact(
            f"Prefect {self._stack.setup.prefect_sign_in} and Hub {self._stack.setup.hub_endpoint} are up", seconds
        )
        ada.run("git", "push", "--quiet")
        console.fact("five images and a concept.yaml are pushed")

    def first_training_begins(self, observer: Observer) -> None:
        """Expect the watcher to find the concept and start its training."""
        self._console.chapter("The watcher notices")
        self._training_begins(observer, NIGHT_LIGHT, "first version")

    def forgotten_push(self, observer: Observer) -> None:
        """Add a concept without `dvc push`; expect it, and no other concept, to wait."""
        console = self._console
        console.chapter(f"Meanwhile Ada adds {LIFE_BUOY.token} and forgets `dvc push`")
        self._add(LIFE_BUOY)
        self._ada.run("git", "push", "--quiet")
        start = time.monotonic()
        with console.waiting("waiting for the watcher to report what is missing") as status:
            cause = observer.until(lambda: observer.waiting(LIFE_BUOY.name), "life-buoy waits for its images", status)
        console.fact(f"{LIFE_BUOY.name} waits: {cause}", time.monotonic() - start)
        self._expect_trainings(observer, 1)
        console.say("She remembers:")
        self._ada.run("dvc", "push")

    def first_version(self, observer: Observer) -> None:
        """Expect v1 to be trained, judged, published and served."""
        self._console.chapter(f"{NIGHT_LIGHT.name} v1")
        self._published(observer, NIGHT_LIGHT, 1)

    def repainted(self, observer: Observer) -> None:
        """Replace the images, which makes a new version, and add a README, which does not."""
        console, ada = self._console, self._ada
        console.chapter(f"The {NIGHT_LIGHT.name} is repainted in {REPAINTED}, and there is a README")
        images = Path("concepts", NIGHT_LIGHT.name, "images")
        draw_images(ada.clone / images, REPAINTED, NIGHT_LIGHT.shape, NAMES, seed=7)
        ada.run("dvc", "add", str(images))
        ada.run("dvc", "push")
        ada.commit_and_push(f"The night-light is {REPAINTED} now", f"{images}.dvc")
        (ada.clone / "README.md").write_text("# Our concepts\n\nA commit that has nothing to do with any of them.\n")
        revision = ada.commit_and_push("Say what this is", "README.md")
        with console.waiting("waiting for the watcher's plan of that commit") as status:
            observer.until(lambda: observer.planned(revision), f"the watcher plans {revision[:8]}", status)
        console.fact("the watcher has planned both commits")

    def second_versions(self, observer: Observer) -> None:
        """Expect one training of each changed concept, and none for the README."""
        self._console.chapter(f"{LIFE_BUOY.name} v1 and {NIGHT_LIGHT.name} v2")
        self._published(observer, LIFE_BUOY, 1)
        self._published(observer, NIGHT_LIGHT, 2)
        self._expect_trainings(observer, 3)
        self._console.fact("three trainings in all: the README's commit trained nothing")

    def back_to_v1(self, observer: Observer) -> None:
        """Change `release:` in concept.yaml and expect the Space to serve v1 again.

        Raises:
            StoryError: concept.yaml has no commented `release:`, or an expectation of the chapter failed.
        """
        console, ada = self._console, self._ada
        console.chapter("Back to v1, by a line in git")
        path = Path("concepts", NIGHT_LIGHT.name, "concept.yaml")
        text, count = re.subn(r"(?m)^# release: latest .*$", "release: v1", (ada.clone / path).read_text())
        if count != 1:
            raise StoryError("has no commented `release:` line to change", file=str(path))
        (ada.clone / path).write_text(text)
        console.command(f"sed -i 's/^# release: latest.*/release: v1/' {path}")
        ada.commit_and_push("Back to the first night-light", str(path))
        start = time.monotonic()
        with console.waiting("waiting for the Space to serve v1 again") as status:
            observer.until(lambda: observer.serves(NIGHT_LIGHT.name, "v1"), "the Space serves v1", status)
        console.fact(f"the Space of {NIGHT_LIGHT.name} serves v1 again", time.monotonic() - start)
        self._expect_trainings(observer, 3)
        self._expect_versions(observer, NIGHT_LIGHT, ["v1", "v2"])
        console.fact("nothing was trained for it; v2 is still there")

    def _start_servers(self) -> float:
        start = time.monotonic()
        self._stack.start()
        return time.monotonic() - start

    def _make_repository(self) -> None:
        ada, root = self._ada, self._folder.root
        ada.run("git", "init", "--quiet", "--bare", "--initial-branch=main", self._origin.name, where=root)
        install(self._origin, root)
        ada.run("git", "clone", "--quiet", self._origin.name, ada.clone.name, where=root)
        ada.run("git", "checkout", "--quiet", "-B", "main", show=False)
        ada.run("dvc", "init", "--quiet")
        ada.run("dvc", "remote", "add", "--default", "storage", str(self._remote))
        ada.run("git", "commit", "--quiet", "--all", "-m", "Begin")
        ada.run("git", "push", "--quiet", "--set-upstream", "origin", "main", show=False)

    def _add(self, subject: Subject) -> None:
        folder = self._images / subject.name
        draw_images(folder, subject.colour, subject.shape, NAMES, seed=subject.seed)
        where = str(Path("..", "pictures", subject.name))
        arguments = ("--images", where, "--token", subject.token, "--init", subject.initializer)
        self._ada.run("conceptry", "new", subject.name, *arguments)
        self._ada.run("git", "add", "concepts")
        self._ada.run("git", "commit", "--quiet", "-m", f"Add {subject.name}")

    def _training_begins(self, observer: Observer, subject: Subject, why: str) -> None:
        start = time.monotonic()
        with self._console.waiting("waiting for the watcher to read git") as status:
            run = observer.until(lambda: observer.training(subject.name), f"{subject.name} is trained", status)
        self._console.fact(
            f"it started the training of {subject.name} ({why}): run {run.name}", time.monotonic() - start
        )

    def _published(self, observer: Observer, subject: Subject, number: int) -> None:
        console, name, start = self._console, f"v{number}", time.monotonic()
        concepts = (subject.name, LIFE_BUOY.name, NIGHT_LIGHT.name)
        with console.waiting(f"{subject.name} {name} is trained, judged and published") as status:
            version = observer.until(
                lambda: observer.version(subject.name, number),
                f"{subject.name} {name}",
                status,
                lambda: observer.progress(concepts),
            )
            self._judged(subject, version)
            took, start = time.monotonic() - start, time.monotonic()
            console.fact(f"{subject.name} {name} is published: {self._figures(version)}", took)
            observer.until(
                lambda: observer.serves(subject.name, name), f"the Space serves {subject.name} {name}", status
            )
        console.fact(f"the Space of {subject.name} serves {name}", time.monotonic() - start)
        self.versions.append((subject, version))

    def _judged(self, subject: Subject, version: Version) -> None:
        if version.gate != "passed":
            raise StoryError(f"{version.name} did not pass its gate: {self._figures(version)}", concept=subject.name)

    def _figures(self, version: Version) -> str:
        loss = "" if version.loss is None else f", held-out loss {version.loss:.3f}"
        return f"{len(version.images)} images, gate {version.gate}{loss}"

    def _expect_trainings(self, observer: Observer, count: int) -> None:
        runs = observer.trainings()
        if len(runs) != count:
            names = ", ".join(run.name for run in runs)
            raise StoryError(f"expected {count} trainings, found {len(runs)}: {names}")

    def _expect_versions(self, observer: Observer, subject: Subject, names: list[str]) -> None:
        concept = observer.concept(subject.name)
        published = [version.name for version in concept.versions] if concept else []
        if sorted(published) != names:
            raise StoryError(f"expected the versions {names}, found {published}", concept=subject.name)
