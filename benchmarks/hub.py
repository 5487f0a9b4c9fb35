"""python -m benchmarks.hub --json [--root DIR] [--megabytes 480] [--repos 1000] [--pushes 200]

Measure the local Hub through its unmodified client, in one run on one disk, in about two minutes:

- upload and download of one large file, and the same bytes again to another branch and another repo;
- a listing of many repos with their cards;
- eight clients that commit on one parent;
- repeated kill -9 of the server during pushes: every confirmed commit must exist, and git fsck must find no fault.

`disk_mb_s` is the speed of a plain loop that hashes, writes and syncs the same file, for comparison; `..._cpu_s` is the
server's processor time, which does not depend on the load of the machine; `load_...` is the load average before and
after. The exit code is 1 when a target (AT_LEAST, AT_MOST) is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils.tqdm import disable_progress_bars

TOKEN = "hf_local"
# Targets, by the names of the figures.
AT_LEAST = {"upload_mb_s": 250.0, "download_mb_s": 250.0}
AT_MOST = {
    "server_peak_mb": 300.0,
    "same_bytes_branch_s": 0.5,
    "same_bytes_repo_s": 0.5,
    "list_s": 0.2,
    "lost_commits": 0.0,
    "half_visible": 0.0,
    "fsck_faults": 0.0,
}


class Server:
    """A Hub in a process of its own."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "emulators.hub", "--root", str(root), "--port", "0", "--no-run"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[1]
        self.api = HfApi(endpoint=self.url, token=TOKEN)

    @property
    def cpu(self) -> float:
        """Processor time used so far, in seconds."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    @property
    def memory(self) -> float:
        """Peak memory so far, in MB."""
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            return float(lines["VmHWM"].split()[0]) * 1024 / 1e6
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and wait for the process to end."""
        self.process.send_signal(number)
        self.process.wait()


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Server]:
    """Run a server while the block runs."""
    server = Server(root)
    try:
        yield server
    finally:
        server.end()


def transfers(server: Server, folder: Path, megabytes: int) -> dict[str, float]:
    """Measure transfers of files of random bytes: MB/s up and down, seconds for the same bytes elsewhere, peak MB.

    Each figure is the best of three files, since the disk and other processes can only slow a transfer down.
    """
    for repo in ("local/large", "local/other"):
        server.api.create_repo(repo)
    server.api.create_branch("local/large", branch="v1")
    rounds = [transfer(server, folder, f"large-{number}.safetensors", megabytes) for number in range(3)]
    figures = {key: (max if key.endswith("_mb_s") else min)(one[key] for one in rounds) for key in rounds[0]}
    figures["server_peak_mb"] = server.memory
    figures["upload_to_disk_ratio"] = figures["upload_mb_s"] / figures["disk_mb_s"]
    return figures


def transfer(server: Server, folder: Path, name: str, megabytes: int) -> dict[str, float]:
    """Measure the transfers of one file."""
    api, file = server.api, folder / name
    with file.open("wb") as target:
        for _ in range(megabytes):
            target.write(os.urandom(1_000_000))
    os.sync()  # so that the transfer does not wait for earlier writes
    figures = {"disk_mb_s": megabytes / _timed(lambda: plain_copy(file, folder / "copy.bin"))}

    def commit(repo: str, revision: str) -> None:
        api.create_commit(repo, [CommitOperationAdd(name, file)], commit_message="large", revision=revision)

    used = server.cpu
    figures["upload_mb_s"] = megabytes / _timed(lambda: commit("local/large", "main"))
    figures["upload_server_cpu_s"] = server.cpu - used
    figures["same_bytes_branch_s"] = _timed(lambda: commit("local/large", "v1"))
    figures["same_bytes_repo_s"] = _timed(lambda: commit("local/other", "main"))

    def download() -> None:
        path = Path(api.hf_hub_download("local/large", name, cache_dir=folder / "cache", revision="v1"))
        assert path.stat().st_size == megabytes * 1_000_000

    used = server.cpu
    figures["download_mb_s"] = megabytes / _timed(download)
    figures["download_server_cpu_s"] = server.cpu - used
    for done in (file, *(folder / "cache").rglob("blobs/*")):
        done.unlink()
    return figures


def plain_copy(source: Path, target: Path) -> None:
    """Hash, write and sync a file: the minimum that a server does for an upload."""
    digest = hashlib.sha256()
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        while block := reader.read(1 << 20):
            digest.update(block)
            writer.write(block)
        os.fsync(writer.fileno())
    target.unlink()


def listing(server: Server, count: int) -> dict[str, float]:
    """Measure the seconds of a listing of many repos with their cards, right after they were made and again."""
    for number in range(count):
        api = server.api
        api.create_repo(f"local/concept-{number}")
        card = f"---\ntags: [conceptry]\nconceptry:\n  versions:\n  - number: {number}\n---\n# c\n".encode()
        api.create_commit(f"local/concept-{number}", [CommitOperationAdd("README.md", card)], commit_message="card")
    seconds = []
    for _ in range(4):
        seconds.append(_timed(lambda: _list(server.api, count)))
    return {"list_first_s": seconds[0], "list_s": min(seconds[1:]), "listed_repos": float(count)}


def _list(api: HfApi, count: int) -> None:
    found = [m for m in api.list_models(author="local", cardData=True, filter="conceptry") if m.card_data]
    assert len(found) == count


def contest(server: Server) -> dict[str, float]:
    """Count how many of eight clients that commit on the same parent succeed, and how many get 412."""
    server.api.create_repo("local/contest")
    parent = server.api.model_info("local/contest").sha
    outcomes: list[int] = []
    start = threading.Barrier(8)

    def push(number: int) -> None:
        client = HfApi(endpoint=server.url, token=TOKEN)
        operation = CommitOperationAdd(f"{number}.txt", b"x")
        start.wait()
        try:
            client.create_commit("local/contest", [operation], commit_message="x", parent_commit=parent)
            outcomes.append(200)
        except HfHubHTTPError as error:
            outcomes.append(error.response.status_code)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"contest_won": float(outcomes.count(200)), "contest_412": float(outcomes.count(412))}


def killed(root: Path, pushes: int) -> dict[str, float]:
    """Push from four clients until `pushes` are confirmed, killing the server repeatedly; then check the repo."""
    answered: dict[str, str] = {}
    kills = 0
    with serving(root) as server:
        server.api.create_repo("local/killed")
    while len(answered) < pushes:
        server = Server(root)
        clients = [threading.Thread(target=_push_on, args=(server.url, answered, pushes)) for _ in range(4)]
        for client in clients:
            client.start()
        target = min(len(answered) + 25, pushes)
        while len(answered) < target and any(client.is_alive() for client in clients):
            time.sleep(0.002)
        server.end(signal.SIGKILL)
        kills += 1
        for client in clients:
            client.join()
    with serving(root) as server:
        commits = {commit.commit_id for commit in server.api.list_repo_commits("local/killed")}
        files = set(server.api.list_repo_files("local/killed")) - {".gitattributes"}
        unreadable = sum(1 for path in files if not _whole(server, path))
    lost = sum(1 for path, oid in answered.items() if oid not in commits or path not in files)
    git = root / "repos/models/local/killed.git"
    fsck = subprocess.run(["git", "fsck", "--strict", "--no-dangling"], cwd=git, capture_output=True, text=True)
    faults = len((fsck.stdout + fsck.stderr).strip().splitlines())
    return {
        "pushes_answered": float(len(answered)),
        "kills": float(kills),
        "lost_commits": float(lost),
        # Each commit adds one file, and each visible file's bytes must be readable.
        "half_visible": float(abs(len(commits) - 1 - len(files)) + unreadable),
        "fsck_faults": float(faults),
    }


def _push_on(url: str, answered: dict[str, str], most: int) -> None:
    # Without huggingface_hub, which would retry for 15 s after the server is gone.
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http:
        while len(answered) < most:
            data = os.urandom(3000)
            path = f"{data[:8].hex()}.bin"
            try:
                answered[path] = _push(http, path, data)
            except httpx2.TransportError:
                return


def _push(http: httpx2.Client, path: str, data: bytes) -> str:
    """Upload one large file and commit it; return the commit."""
    described = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    batch = {"operation": "upload", "objects": [described], "hash_algo": "sha256"}
    asked = http.post("/local/killed.git/info/lfs/objects/batch", json=batch).raise_for_status()
    action = asked.json()["objects"][0].get("actions")
    if action:
        http.put(action["upload"]["href"], content=data).raise_for_status()
    lines = [
        {"key": "header", "value": {"summary": path}},
        {"key": "lfsFile", "value": {"path": path, "algo": "sha256"} | described},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    made = http.post("/api/models/local/killed/commit/main", content=body).raise_for_status()
    return str(made.json()["commitOid"])


def _whole(server: Server, path: str) -> bool:
    answer = httpx2.get(f"{server.url}/local/killed/resolve/main/{path}")
    linked = answer.headers.get("X-Linked-Etag", "").strip('"')
    return answer.status_code == 200 and hashlib.sha256(answer.content).hexdigest() == linked


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(root: Path, megabytes: int, repos: int, pushes: int) -> dict[str, float]:
    """Measure all figures; returns them by name."""
    figures: dict[str, float] = {"load_before": os.getloadavg()[0], "cores": float(os.cpu_count() or 1)}
    with serving(root / "transfers") as server:
        figures |= transfers(server, root, megabytes)
        figures |= contest(server)
    with serving(root / "listing") as server:
        figures |= listing(server, repos)
    figures |= killed(root / "killed", pushes)
    return figures | {"load_after": os.getloadavg()[0]}


def missed(figures: dict[str, float]) -> list[str]:
    """Return a sentence for each missed target."""
    found = [f"{k} is {figures[k]:.3g}, not at least {v:g}" for k, v in AT_LEAST.items() if figures[k] < v]
    found += [f"{k} is {figures[k]:.3g}, not at most {v:g}" for k, v in AT_MOST.items() if figures[k] > v]
    if (figures["contest_won"], figures["contest_412"]) != (1, 7):
        found.append(f"{figures['contest_won']:.0f} clients won the contest, {figures['contest_412']:.0f} got 412")
    return found


def main() -> int:
    """Run the command line; return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.add_argument("--root", type=Path, help="a folder on the disk to measure (default: a temporary one)")
    parser.add_argument("--megabytes", type=int, default=480)
    parser.add_argument("--repos", type=int, default=1000)
    parser.add_argument("--pushes", type=int, default=200)
    options = parser.parse_args()
    constants.HF_HUB_DISABLE_XET = True  # this Hub has no Xet
    disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=options.root, prefix="hub-bench-") as folder:
        figures = measure(Path(folder), options.megabytes, options.repos, options.pushes)
    problems = missed(figures)
    if options.json:
        print(json.dumps({**{k: round(v, 3) for k, v in figures.items()}, "missed": problems}))
    else:
        print("\n".join(f"{name:22} {value:10.3f}" for name, value in figures.items()))
        print("\n".join(problems) or "All targets are met.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
