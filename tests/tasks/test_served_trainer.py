"""A training server: one process for many trainings, each as if it were alone."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conceptry.errors import TrainingError, TransientError
from conceptry.work_folder import WorkFolder
from tasks.locks import is_held
from tasks.training import TrainingRequest, train_local
from tasks.training.served_trainer import TrainingServers, own_training_servers, server_folder
from tasks.training.training_request import Progress
from tests.support.tiny_trainings import CRESCENT, HEART, digests, write_crescents
from tests.support.wait import wait_until
from trainer.server_folder import Request, ServerFolder, peer, receive, send

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="training servers need Linux")
LONG = HEART | {"training": {"max_steps": 100_000, "early_stopping": False}}
REFUSED = HEART | {"initializer_token": ""}


@dataclass
class Machine:
    """One machine's training servers, and the folder of its trainings."""

    root: Path
    servers: TrainingServers
    pictures: Path

    def request(self, name: str, config: dict[str, Any]) -> TrainingRequest:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return TrainingRequest(name, config, self.pictures, folder / "output")

    def train(self, name: str, config: dict[str, Any], **options: Any) -> dict[str, str]:
        """Train, and return the digests of what it made, but for times."""
        # Differs from test to test, and would be another environment.
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        train_local(self.request(name, config), **{"servers": self.servers, **options})
        return digests(self.root / name / "output")

    def process(self, slot: int = 0) -> int | None:
        """The process that serves a slot."""
        connection = self.servers.folder.connect(slot)
        if connection is None:
            return None
        with connection:
            return peer(connection)[0]

    def refused(self, **options: Any) -> None:
        """Ask for a training that cannot be, which takes no time."""
        with pytest.raises(TrainingError, match="initializer_token: '' must be a word"):
            self.train("refused", REFUSED, **options)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    # Too deep for the address of a socket.
    root = tmp_path_factory.mktemp("machine") / ("deep-" * 20)
    pictures = root / "records"
    write_crescents(pictures)
    work = WorkFolder(root / "work")
    folder = server_folder(work)
    assert folder is not None
    machine = Machine(root, TrainingServers(folder, 120.0), pictures)
    with own_training_servers(work):
        yield machine
        servers = [process for slot in range(3) if (process := machine.process(slot))]
    wait_until(lambda: not any(alive(process) for process in servers))


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_training_after_others_makes_the_same_bytes(machine: Machine) -> None:
    first = machine.train("first", HEART)
    process = machine.process()
    assert "text_encoder/saved_model.pb" in machine.train("second", CRESCENT)
    assert machine.train("again", HEART) == first
    assert machine.process() == process, "one process for all"
    log = (machine.root / "second" / "trainer.log").read_text()
    assert log == "", "what the first one imported is told in its log"


def test_a_training_alone_makes_the_same_bytes(machine: Machine) -> None:
    assert machine.train("alone", CRESCENT, servers=None) == digests(machine.root / "second" / "output")


def test_a_training_that_fails_leaves_the_others_alone(machine: Machine) -> None:
    process = machine.process()
    machine.refused()
    exploding = HEART | {"training": {"max_steps": 30, "learning_rate": 1e8}}
    with pytest.raises(TrainingError, match=r"(?s)the training failed.*at step \d+: try a smaller learning_rate"):
        machine.train("exploding", exploding)
    missing = TrainingRequest("missing", HEART, machine.root / "nowhere", machine.root / "missing" / "output")
    missing.output.parent.mkdir()
    with pytest.raises(TrainingError, match="nowhere cannot be read"):
        train_local(missing, servers=machine.servers)
    unwritable = machine.request("unwritable", HEART)
    (unwritable.output.parent / "output.partial").mkdir()
    (unwritable.output.parent / "output.partial" / "checkpoints").touch()
    with pytest.raises(TrainingError, match=r"(?s)the trainer failed.*FileExistsError"):
        train_local(unwritable, servers=machine.servers)
    assert machine.train("after", HEART) == digests(machine.root / "first" / "output")
    assert machine.process() == process


class RunEnds(BaseException):
    """What Prefect raises in a run that is cancelled."""


def test_a_run_that_is_cancelled_or_killed_stops_its_training_only(machine: Machine) -> None:
    process = machine.process()

    def cancel(progress: Progress) -> None:
        raise RunEnds(progress)

    with pytest.raises(RunEnds):
        machine.train("long", LONG, on_progress=cancel)
    partial = machine.root / "long" / "output.partial"
    stopped_at = json.loads((partial / "checkpoints" / "latest.json").read_text())["step"]
    assert stopped_at >= 20
    assert json.loads((partial / "progress.jsonl").read_text().splitlines()[-1])["event"] == "interrupted"

    lock = machine.root / "run.lock"
    with client(machine, "long", LONG, lock) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if int(line) > stopped_at)
        run.kill()
        run.wait()
        assert is_held(lock), "by the training, which has not ended yet"
    wait_until(lambda: not is_held(lock))
    assert json.loads((partial / "checkpoints" / "latest.json").read_text())["step"] > stopped_at
    assert machine.train("after-kill", HEART) == digests(machine.root / "first" / "output")
    assert machine.process() == process


CLIENT = """
import json, sys
from pathlib import Path
from tasks.locks import hold
from tasks.training import TrainingRequest, train_local
from tasks.training.served_trainer import ServerFolder, TrainingServers
folder, pictures, output, config, lock = sys.argv[1:]
request = TrainingRequest("cat", json.loads(config), Path(pictures), Path(output))
servers = TrainingServers(ServerFolder(Path(folder)), 120.0)
with hold(Path(lock), "this run") as held:
    train_local(request, servers=servers, keep_open=[held], on_progress=lambda it: print(it.step, flush=True))
"""


def client(machine: Machine, name: str, config: dict[str, Any], lock: Path, **variables: str) -> subprocess.Popen[str]:
    """Start a run as a process of its own."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    request = machine.request(name, config)
    arguments = [machine.servers.folder.path, request.records, request.output, json.dumps(config), lock]
    command = [sys.executable, "-P", "-c", CLIENT, *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_two_at_once_have_a_process_each_and_one_that_dies_is_replaced(machine: Machine) -> None:
    process, lock = machine.process(), machine.root / "killed.lock"
    with client(machine, "killed", LONG, lock) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if int(line) > 50)
        machine.refused()
        assert machine.process(1) not in (None, process), "it did not wait for the other training"
        assert process is not None
        os.kill(process, signal.SIGKILL)
        _, told = run.communicate()
    assert "the trainer ended unexpectedly, possibly because memory ran out; its checkpoint is kept" in told
    assert not is_held(lock)

    def kill(progress: Progress) -> None:
        assert progress.step > 50, "it went on from the checkpoint"
        following = machine.process()
        assert following is not None
        os.kill(following, signal.SIGKILL)

    with pytest.raises(TransientError, match=r"SIGKILL.*its checkpoint is kept; a retry resumes from it"):
        machine.train("killed", LONG, on_progress=kill)


def test_another_environment_or_other_code_gets_another_process(
    machine: Machine, tmp_path: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.refused()
    processes = [machine.process()]
    machine.refused()
    assert machine.process() == processes[0]
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    machine.refused()
    processes.append(machine.process())
    copy = shutil.copytree(repo_root / "trainer", tmp_path / "trainer")
    for change in ("", "# Changed.\n"):
        with (copy / "train.py").open("a") as file:
            file.write(change)
        path = os.pathsep.join([str(tmp_path), str(repo_root)])
        with client(machine, "refused", REFUSED, tmp_path / "lock", PYTHONPATH=path) as run:
            assert "must be a word" in run.communicate()[1]
        processes.append(machine.process())
    assert None not in processes
    assert len(set(processes)) == 4
    assert [process for process in processes if process and alive(process)] == processes[-1:]


def test_a_server_ends_when_it_is_idle_or_has_no_owner(machine: Machine, tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path / "servers")
    folder.create()
    assert not folder.is_owned()
    other = Machine(machine.root, TrainingServers(folder, 120.0), machine.pictures)
    other.refused()
    wait_until(lambda: other.process() is None)
    with folder.own():
        assert folder.is_owned()
        other.servers = TrainingServers(folder, 0.5)
        other.refused()
        process = other.process()
        assert process is not None
        wait_until(lambda: not alive(process))


def test_a_server_that_does_not_answer_is_replaced(machine: Machine, tmp_path: Path, monkeypatch: Any) -> None:
    folder = ServerFolder(tmp_path / "servers")
    folder.create()
    other = Machine(machine.root, TrainingServers(folder, 120.0), machine.pictures)
    monkeypatch.setattr("trainer.server_client.PATIENCE", 0.5)
    with folder.own():
        other.refused()
        process = other.process()
        assert process is not None
        os.kill(process, signal.SIGSTOP)
        other.refused()
        assert not alive(process)
        assert other.process() not in (None, process)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_is_refused(tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path / "servers")
    folder.create()
    with folder.listen(0) as listener:
        assert as_nobody(folder.path) == 1, "the folder is closed"
        folder.path.chmod(0o711)
        (folder.path / "0.sock").chmod(0o777)
        assert as_nobody(folder.path) == 0
        with listener.accept()[0] as connection:
            assert receive(connection) is None, "the server looks for itself, too"
    with pytest.raises(PermissionError):
        folder.create()


def as_nobody(folder: Path) -> int:
    """Connect as another user and send a request; 0 if that can be done."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    with suppress(OSError):
        os.chdir(folder)
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect("0.sock")
            send(connection, Request("key", ()), [0, 1])
            code = 0
    os._exit(code)
