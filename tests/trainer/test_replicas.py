"""Training on several hosts: what TF_CONFIG may say, and that two workers learn what one does with their batches."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import replica
from tests.support.trainer_runs import RecordsMaker
from trainer.devices import cluster
from trainer.training_config import ConfigError


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(
    records: Path, batch_size: int, folder: Path, task: dict[str, Any] | None = None, local: int = 1
) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    if task:
        environment["TF_CONFIG"] = json.dumps(task)
    command = [sys.executable, "-m", "tests.support.replica", *map(str, (records, batch_size, folder, local))]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_workers_and_two_devices_learn_what_one_with_the_doubled_batch_does(
    make_records: RecordsMaker, tmp_path: Path
) -> None:
    records = make_records(tmp_path / "records", ("teal", "crescent"), 3)
    hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
    tasks = [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}} for index in range(2)]
    running = [start(records, 2, tmp_path / "two", task) for task in tasks]
    running.append(start(records, 2, tmp_path / "mirrored", local=2))
    # This process is the one host with one device, meanwhile: another would only import TensorFlow again.
    (tmp_path / "one").mkdir()
    replica.main(records, 4, tmp_path / "one", local=1)
    for process in running:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    first, second = (np.load(tmp_path / "two" / f"{index}.npy") for index in range(2))
    mirrored, alone = (np.load(tmp_path / name / "alone.npy") for name in ("mirrored", "one"))
    np.testing.assert_array_equal(first, second)
    # Adam divides by the gradient's size, so the last bit of a sum is seen in small gradients.
    np.testing.assert_allclose(first, alone, atol=2e-3)
    np.testing.assert_allclose(mirrored, alone, atol=2e-3)
    checkpoint = json.loads((tmp_path / "two" / "checkpoints" / "latest.json").read_text())
    assert checkpoint["step"] == 12


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (None, ("chief", 0, 1)),
        ({"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}, ("chief", 0, 1)),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}, ("worker", 0, 2)),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "1"}}, ("worker", 1, 2)),
    ],
)
def test_tf_config_is_read_as_vertex_writes_it(document: dict[str, Any] | None, found: tuple[str, int, int]) -> None:
    assert cluster(json.dumps(document) if document else None) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "TF_CONFIG cannot be read"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "TF_CONFIG cannot be read: KeyError"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}', "with the role ps"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}', "worker 2, which"),
    ],
)
def test_a_bad_tf_config_is_one_clear_message(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster(text)
