"""Whatever people and machines do, in whatever order: one version a fingerprint, nothing lost, and it comes to rest.

Commits, pushes, forgotten `dvc push`es, reverts, removed concepts, pinned releases; branches, tags, Spaces and cards
changed by hand on a real Hub; watchers that die at any request to it, and two at a time. The flows' own functions run
here without Prefect around them: what Prefect adds is tested elsewhere, and would take most of the time.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import get_session
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from prefect.logging import disable_run_logger

from conceptry.actions import Action
from conceptry.fingerprint import training_fingerprint
from conceptry.gate import GateFinding, GateResult
from conceptry.planner import choose_release
from conceptry.reasons import GateReason
from conceptry.training_job import training_job
from emulators.hub.server import running
from flows.apply import apply_action
from flows.observe import Context, observe
from flows.reconcile import Comparison, compare
from flows.release import release_concept
from flows.steps import DIRECT
from tasks import hub
from tasks.dvc.desired_images import list_desired_images
from tasks.git.desired_concepts import read_desired
from tasks.hub.session import Refs
from tasks.training import base_model, base_of
from tests.support.registry_world import World, run
from tests.support.trained import make_trained

NAMES = st.sampled_from(["ant", "bee"])
SEEDS = st.integers(0, 2)
RELEASES = st.sampled_from(["latest", "none", "v1", "v2", "v3"])
CHANCE = st.integers(0, 10**6)
ROUNDS = 12
EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "3"))
"""More of them are others each time."""
STEPS = int(os.environ.get("STATEFUL_STEPS", "12"))


class Death(BaseException):
    """The watcher was killed here."""


@contextmanager
def dying_at(request: int) -> Iterator[None]:
    """Die at so many requests to the Hub from now."""
    left = count(request, -1)

    def hook(_: object) -> None:
        if next(left) <= 0:
            raise Death

    session = get_session()
    hooks = session.event_hooks
    session.event_hooks = {**hooks, "request": [*hooks["request"], hook]}
    try:
        yield
    except Death:
        pass
    finally:
        session.event_hooks = hooks


class Registry(RuleBasedStateMachine):
    """One origin with a DVC remote, one Hub, and people who are not careful."""

    folders: Iterator[Path]

    @initialize()
    def begin(self) -> None:
        self.folder = next(self.folders)
        self._hub = running(self.folder / "hub")
        self.world = World(self.folder, self._hub.__enter__().url, "")
        self.world.start()
        os.environ.update(self.world.variables())
        del os.environ["PREFECT_API_URL"]
        self.forgotten: dict[str, dict[str, bytes]] = {}
        self.published: dict[str, str] = {}
        self.unpushed = False
        self.commit("Begin")
        for seed in (0, 1):
            self.ship("ant", seed)

    # What people do with git and DVC.

    @rule(name=NAMES, seed=SEEDS)
    def ship(self, name: str, seed: int) -> None:
        """What careful people do."""
        self.edit(name, seed, steps=None, push=True, good=True)
        self.push()
        self.reconcile()

    @rule(name=NAMES, seed=SEEDS, steps=st.sampled_from([None, 300]), push=st.booleans(), good=st.booleans())
    def edit(self, name: str, seed: int, steps: int | None, push: bool, good: bool) -> None:
        training: dict[str, Any] = {} if steps is None else {"training": {"max_steps": steps}}
        spec = self.spec(name)
        kept = {key: spec[key] for key in ("release", "space") if key in spec}
        self.world.write(name, pictures=3, seed=10 * seed + good, push=push, **kept, **training)
        if not push:
            self.forgotten[name] = dict(self.world.pushed)
        self.commit(f"Edit {name}")

    @rule(
        name=NAMES, wanted=st.sampled_from(["latest", "none", "v1", "v2", "v3"]), title=st.sampled_from(["One", "Two"])
    )
    def release(self, name: str, wanted: str, title: str) -> None:
        spec = self.spec(name)
        if spec:
            spec |= {"release": wanted, "space": {"title": title}}
            (self.world.clone / "concepts" / name / "concept.yaml").write_text(yaml.safe_dump(spec))
            self.commit(f"Release {wanted} of {name}")

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if self.spec(name):
            run(self.world.clone, "git", "rm", "-rq", f"concepts/{name}")
            self.commit(f"Remove {name}")

    @rule()
    def revert(self) -> None:
        if int(run(self.world.clone, "git", "rev-list", "--count", "HEAD")) > 2:
            run(self.world.clone, "git", "revert", "--no-edit", "HEAD")
            self.unpushed = True

    @precondition(lambda self: self.unpushed)
    @rule()
    def push(self) -> None:
        run(self.world.clone, "git", "push", "--quiet", "origin", "HEAD:main")
        self.unpushed = False

    @precondition(lambda self: self.forgotten)
    @rule()
    def remember_dvc_push(self) -> None:
        for pushed in self.forgotten.values():
            self.world.pushed = pushed
            self.world.dvc_push()
        self.forgotten.clear()

    # What people do to the Hub by hand.

    @rule(name=NAMES, chance=CHANCE, how=st.sampled_from(["delete", "move"]))
    def spoil_branch(self, name: str, chance: int, how: str) -> None:
        versions = self.versions(name)
        if versions:
            api, branch = self.world.api(), versions[chance % len(versions)]
            api.delete_branch(f"local/{name}", branch=branch)
            if how == "move":
                api.create_branch(f"local/{name}", branch=branch, revision="main")

    @rule(name=NAMES, chance=CHANCE)
    def lose_tag(self, name: str, chance: int) -> None:
        if self.exists(name, "model"):
            tags = sorted(tag.name for tag in self.world.api().list_repo_refs(f"local/{name}").tags)
            if tags:
                self.world.api().delete_tag(f"local/{name}", tag=tags[chance % len(tags)])

    @rule(name=NAMES, how=st.sampled_from(["edit", "add", "pause", "delete"]))
    def spoil_space(self, name: str, how: str) -> None:
        api, repo = self.world.api(), f"local/{name}"
        if not self.exists(name, "space"):
            return
        if how == "pause":
            api.pause_space(repo)
        elif how == "delete":
            api.delete_repo(repo, repo_type="space")
        else:
            path = "app.py" if how == "edit" else "more.py"
            api.upload_file(path_or_fileobj=b"pass", path_in_repo=path, repo_id=repo, repo_type="space")

    @rule(name=NAMES)
    def spoil_card(self, name: str) -> None:
        if self.exists(name, "model"):
            api, repo = self.world.api(), f"local/{name}"
            files = api.list_repo_files(repo)
            if "README.md" in files:
                text = Path(api.hf_hub_download(repo, "README.md", local_dir=self.folder / "card")).read_text()
                lines = ["  release: v9" if line.startswith("  release:") else line for line in text.split("\n")]
                spoiled = "\n".join(lines)
                api.upload_file(path_or_fileobj=spoiled.encode(), path_in_repo="README.md", repo_id=repo)

    # What machines do.

    @rule()
    def watch(self) -> None:
        self.reconcile()

    @rule(request=st.integers(1, 60))
    def watch_and_die(self, request: int) -> None:
        with dying_at(request):
            self.reconcile()

    @rule()
    def two_watchers(self) -> None:
        errors: list[BaseException] = []

        def one() -> None:
            try:
                self.reconcile(strict=False)
            except BaseException as error:  # noqa: BLE001 - told below
                errors.append(error)

        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []

    def reconcile(self, *, strict: bool = True) -> Comparison:
        """What the flow `watch` does, and the trainings that it would start."""
        with disable_run_logger():
            context = Context.of(self.world.installation, DIRECT)
            comparison = compare(context, observe(context), None)
            for action in comparison.plan.due:
                apply_action(context, comparison, action, lambda one, at: self.train(one, at, strict=strict))
        return comparison

    def train(self, action: Action, revision: str, *, strict: bool) -> None:
        """What the flow `train_concept` does, with a trainer that takes no time."""
        installation, session, fingerprint = self.world.installation, self.world.session, action.fingerprint or ""
        if hub.find_version(session, action.concept, fingerprint) is None:
            assert not strict or fingerprint not in self.published, f"{action}: it was published before"
            desired = list_desired_images(installation, read_desired(installation, revision, only=action.concept))
            job = training_job(desired, action.concept, base_of, expected=fingerprint)
            good = int(fingerprint[:2], 16) % 4 != 0
            place = self.folder / f"run-{threading.get_ident()}-{len(list(self.folder.iterdir()))}"
            make_trained(place / "output", token=f"<{action.concept}>", loss=0.05 if good else 0.2)
            lineage = hub.Lineage(
                fingerprint=fingerprint, inputs=job.inputs, commit=revision, dvc_md5=job.desired.dvc_md5 or "",
                images=job.desired.images or (),
            )  # fmt: skip
            judged = GateResult((GateFinding(GateReason.IMPROVED, "passed" if good else "rejected", "judged"),))
            bundle = hub.assemble(
                place / "output", place / "bundle", name=action.concept, spec=job.spec, base=job.base,
                lineage=lineage, gate=judged, repo=session.target.repo(action.concept),
            )  # fmt: skip
            hub.publish(session, action.concept, bundle)
            self.published[fingerprint] = action.concept
        release_concept(Context.of(installation, DIRECT), action.concept)

    # What must hold.

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if self.forgotten:
                self.remember_dvc_push()
            self.push()
            self.settle()
            self.check()
        finally:
            self._hub.__exit__(None, None, None)

    def settle(self) -> None:
        """Watch until there is nothing left to do."""
        for _ in range(ROUNDS):
            comparison = self.reconcile()
            if not comparison.plan.changes:
                return
        raise AssertionError(f"it does not come to rest: {comparison.plan.changes}")

    def check(self) -> None:
        context = Context.of(self.world.installation, DIRECT)
        comparison = compare(context, observe(context), None)
        for name, live in comparison.live.concepts.items():
            assert live.drift == ()
            self.check_versions(name, len(live.versions))
            self.check_release(name, comparison)
        for fingerprint, name in self.published.items():
            assert hub.find_version(self.world.session, name, fingerprint), "a version was lost"

    def check_versions(self, name: str, listed: int) -> None:
        """One version a fingerprint, each with its branch and tag, all of them in the index."""
        if not self.exists(name, "model"):
            return
        session = self.world.session
        refs = session.refs(name) or Refs({})
        manifests = [session.manifest(name, commit) for commit in refs.versions.values()]
        fingerprints = [manifest.fingerprint for manifest in manifests if manifest]
        assert len(fingerprints) == len(set(fingerprints)) == len(refs.versions) == listed
        assert sorted(refs.tags.values()) == sorted(refs.versions.values())
        assert not [branch for branch in refs.branches if branch.startswith("staging/")]

    def check_release(self, name: str, comparison: Comparison) -> None:
        """The Space, and main, are where git says."""
        there, wanted = comparison.live.concepts[name], comparison.desired.concepts.get(name)
        served = there.space.release if there.space and not there.space.paused else None
        if wanted is None or wanted.spec is None:
            assert served is None
            return
        base = base_model(wanted.spec.base_model)
        expected = choose_release(
            wanted.spec, there.versions, training_fingerprint(wanted.spec, wanted.images or (), base)
        )
        if expected is None and wanted.spec.release not in ("none", "latest"):
            return  # a version that is not there: held, and left as it is
        if expected is not None or wanted.spec.release == "none":
            assert served == (expected.name if expected else None)
            assert (there.main.release if there.main else None) == served

    # Helpers.

    def spec(self, name: str) -> dict[str, Any]:
        file = self.world.clone / "concepts" / name / "concept.yaml"
        return dict(yaml.safe_load(file.read_text())) if file.is_file() else {}

    def commit(self, message: str) -> None:
        run(self.world.clone, "git", "add", "--all")
        run(self.world.clone, "git", "commit", "--quiet", "--allow-empty", "-m", message)
        self.unpushed = True

    def exists(self, name: str, kind: str) -> bool:
        return bool(self.world.api().repo_exists(f"local/{name}", repo_type=kind))

    def versions(self, name: str) -> list[str]:
        if not self.exists(name, "model"):
            return []
        return [f"v{number}" for number in (self.world.session.refs(name) or Refs({})).versions]


@pytest.fixture
def environment() -> Iterator[None]:
    """Put the environment back afterwards: each world writes its own settings into it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("environment")
def test_whatever_happens_it_comes_to_rest(tmp_path: Path) -> None:
    numbers = count()

    def fresh() -> Iterator[Path]:
        for number in numbers:
            folder = tmp_path / f"world-{number}"
            folder.mkdir()
            yield folder

    class Here(Registry):
        folders = fresh()

    machine: Callable[[], RuleBasedStateMachine] = Here
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize="STATEFUL_EXAMPLES" not in os.environ,
        ),
    )
