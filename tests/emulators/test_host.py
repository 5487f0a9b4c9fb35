"""What processes that the emulators start get of this machine."""

import pytest

from emulators.host import free_ports, inherited_environment


def test_children_inherit_the_machine_and_no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = {"LANG": "C.UTF-8", "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "2", "LD_LIBRARY_PATH": "/lib"}
    accounts = {"HF_TOKEN": "x", "GOOGLE_APPLICATION_CREDENTIALS": "x", "PREFECT_API_URL": "x", "SECRET": "x"}
    for name, value in (machine | accounts).items():
        monkeypatch.setenv(name, value)
    inherited = inherited_environment()
    assert machine.items() <= inherited.items()
    assert not accounts.keys() & inherited.keys()
    assert inherited_environment(["SECRET", "MISSING"])["SECRET"] == "x"


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20
