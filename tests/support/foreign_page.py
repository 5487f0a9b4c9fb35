"""A web page of another origin in a real Chromium that attacks servers of this machine, and what they answered it."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.answering_server import answering
from tests.support.chromium import CHROMIUM

_NAME = "evil.example"
# What a page can send without asking the server first (text/plain), and what browsers ask for (a preflight).
_SCRIPT = """
const attacks = %s;
Promise.allSettled(attacks.map(([url, options]) => fetch(url, options))).then((results) => {
  const read = attacks.filter((_, at) => results[at].status === "fulfilled" && results[at].value.type !== "opaque");
  document.body.textContent = "read: " + JSON.stringify(read.map(([url]) => url));
});
"""


def attacks(url: str, body: object = None, token: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Return the ways in which a page can try to send a body to an address, as the arguments of `fetch`."""
    text = json.dumps({} if body is None else body)
    asked = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    simple = {"method": "POST", "mode": "no-cors", "headers": {"Content-Type": "text/plain"}, "body": text}
    return [
        (url, simple),
        (url, {"method": "POST", "headers": asked, "body": text}),
        (url, {"method": "PATCH", "headers": asked, "body": text}),
        (url, {"method": "DELETE", "headers": asked}),
    ]


def attack(
    tries: Iterable[tuple[str, dict[str, Any]]], folder: Path, *options: str
) -> tuple[list[str], dict[str, set[int]]]:
    """Open a page that sends all requests; return the addresses that it could read, and the statuses by address.

    Args:
        tries: Arguments of `fetch`.
        folder: For Chromium's profile and its log of the network, from which the statuses are read.
        options: More of Chromium's.
    """
    log = folder / "network.json"
    flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=10000 --dump-dom"
    ours = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    ours.append(f"--host-resolver-rules=MAP {_NAME} 127.0.0.1")
    with _page(f"<!doctype html><body><script>{_SCRIPT % json.dumps(list(tries))}</script>") as address:
        command = [str(CHROMIUM), *flags.split(), *ours, *options, address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "read: " in done.stdout, done.stdout + done.stderr
    read = json.loads(done.stdout.partition("read: ")[2].partition("</body>")[0].replace("&quot;", '"'))
    return read, _statuses(json.loads(log.read_text(encoding="utf-8")))


@contextmanager
def _page(html: str) -> Iterator[str]:
    """Serve one page; yields its address, which has the name of somebody else's site."""
    with answering(lambda *_: (200, "text/html", html.encode())) as port:
        yield f"http://{_NAME}:{port}/"


def _statuses(log: dict[str, Any]) -> dict[str, set[int]]:
    """Return the statuses of all answers by address, from Chromium's log of the network."""
    names = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    addresses: dict[int, str] = {}
    found: dict[str, set[int]] = defaultdict(set)
    for event in log["events"]:
        source, given = event["source"]["id"], event.get("params", {})
        if "url" in given and names[event["type"]] == "URL_REQUEST_START_JOB":
            addresses[source] = urlsplit(given["url"])._replace(fragment="").geturl()
        elif names[event["type"]] == "HTTP_TRANSACTION_READ_RESPONSE_HEADERS" and source in addresses:
            found[addresses[source]].add(int(given["headers"][0].split()[1]))
    return found
