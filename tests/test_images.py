"""The Dockerfiles, without docker: what they copy and install, and how the image of the flows is started."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pathspec import PathSpec

from flows.work_pool import WORK
from tests.support.uv_sync import uv_program, uv_variables

DOCKERFILES = ("Dockerfile", "trainer/Dockerfile", "deploy/hub.Dockerfile")


def instructions(dockerfile: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each instruction with its words."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, shlex.split(rest)


def copied(dockerfile: Path) -> set[str]:
    """Return the paths of the repository that an image holds."""
    copies = [words for name, words in instructions(dockerfile) if name == "COPY" and not words[0].startswith("--from")]
    return {source for words in copies for source in words[:-1]}


def one(dockerfile: Path, name: str) -> list[str]:
    return [words for found, words in instructions(dockerfile) if found == name][-1]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_copies_exists_and_is_not_ignored(name: str, repo_root: Path) -> None:
    ignored = PathSpec.from_lines("gitignore", (repo_root / ".dockerignore").read_text().splitlines())
    for source in copied(repo_root / name):
        path = repo_root / source
        assert path.exists(), source
        file = next(path.rglob("*.py")) if path.is_dir() else path
        assert not ignored.match_file(file.relative_to(repo_root).as_posix()), source


def test_docker_is_sent_what_the_images_copy_and_nothing_else(repo_root: Path) -> None:
    lines = (repo_root / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert sent == set().union(*(copied(repo_root / name) for name in DOCKERFILES))


def test_the_image_of_the_flows_is_a_worker_and_runs_what_a_pool_asks_for(repo_root: Path) -> None:
    dockerfile = repo_root / "Dockerfile"
    assert "ENTRYPOINT" not in {name for name, _ in instructions(dockerfile)}, "a pool gives a command, or arguments"
    assert "".join(one(dockerfile, "CMD")) == "[conceptry,worker]"
    assert one(dockerfile, "USER") == ["1000"], "as a number, by which Kubernetes sees that it is not root"
    assert one(dockerfile, "VOLUME") == [WORK]
    assert f"CONCEPTRY_WORK={WORK}" in one(dockerfile, "ENV")


def test_cloud_build_makes_and_pushes_and_tries_both(repo_root: Path) -> None:
    build = yaml.safe_load((repo_root / "cloudbuild.yaml").read_text())
    made = [
        argument.removeprefix("--tag=") for step in build["steps"] for argument in step["args"] if "--tag=" in argument
    ]
    assert sorted(made) == sorted(build["images"])
    assert {step["name"] for step in build["steps"] if "entrypoint" in step} == {
        image for image in made if image.endswith("$BUILD_ID")
    }
    used = set(re.findall(r"\$(_[A-Z]+)", yaml.safe_dump(build["steps"])))
    assert used == set(build["substitutions"])


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_the_image_of_the_flows_starts(repo_root: Path, tmp_path: Path) -> None:
    """What the Dockerfile copies, at another path, with what its own lines install, and nothing else."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    uv, environment = uv_program(repo_root), uv_variables(inherited, tmp_path / "environment")
    app = tmp_path / "app"
    app.mkdir()
    for source in copied(repo_root / "Dockerfile"):
        copy = shutil.copytree if (repo_root / source).is_dir() else shutil.copyfile
        copy(repo_root / source, app / source)
    runs = [words for name, words in instructions(repo_root / "Dockerfile") if name == "RUN" and "sync" in words]
    assert len(runs) == 2
    for words in runs:
        command = words[1 : words.index("&&")] if "&&" in words else words[1:]
        kept = [word for word in command if word != "--compile-bytecode" and not word.startswith(("${GPU", "gpu"))]
        done = subprocess.run([uv, *kept], cwd=app, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    binaries = tmp_path / "environment" / "bin"
    assert not (binaries / "pytest").exists()
    assert not list(binaries.parent.glob("lib/python*/site-packages/nvidia*"))
    command = [str(binaries / "conceptry"), "worker"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"HOME": str(tmp_path), "PYTHONSAFEPATH": "1"}, capture_output=True, text=True
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "CONCEPTRY_REPO: is missing" in done.stderr
    rooms = "flows.watch, flows.watcher, flows.train_concept, flows.reap, flows.release, trainer, flows"
    code = f"import {rooms}; print(flows.__path__[0])"
    done = subprocess.run([str(binaries / "python"), "-P", "-c", code], cwd=tmp_path, env={"HOME": str(tmp_path)},
                          capture_output=True, text=True)  # fmt: skip
    assert done.stdout.strip() == str(app / "flows"), done.stderr
