"""Folders, servers and settings in which commands have to end with words: what people have, and what goes wrong."""

from __future__ import annotations

import os
import random
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.answering_server import answering
from tests.support.registry_world import World, run

NOBODY = 65534
BROKEN_TEXTS = (
    b"", b"\x00\x01\x02", b"\xff\xfe", b"[", b"a: [1", b"- 1\n- 2\n", b"null", b"42", b"a: &a [*a]", b"? [1]: 2\n",
    b"placeholder_token: 3\n", b"placeholder_token: <x>\ninitializer_token: [a]\n", b"!!python/object:os.system {}",
    b"a: 2026-99-99", b"k: v\nk: w\n", b"\xc3\x28: 1", b"outs: 3\n", b"outs:\n- md5: 7\n", b"outs:\n- path: [x]\n",
    b"{" * 400, b"version = 1\n[remote\n", b"repo = 3\n", b'repo = "x"\nhub_port = "a"\n', b'repo = "x"\nunknown = 1\n',
    b'repo = ""\nhub_port = -5\nprefect_port = 70000000\n', b'repo = "x"\nwatch_every = {}\n',
)  # fmt: skip
"""Contents of YAML and TOML files that cannot be what they should be."""

Change = Callable[[Path, random.Random], None]


def _write(*path: str) -> Change:
    def change(folder: Path, chance: random.Random) -> None:
        file = folder.joinpath(*path)
        if file.is_dir():
            shutil.rmtree(file)
        if file.parent.is_file():
            file.parent.unlink()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.choice(BROKEN_TEXTS))

    return change


def _remove(*path: str) -> Change:
    def change(folder: Path, _: random.Random) -> None:
        there = folder.joinpath(*path)
        shutil.rmtree(there) if there.is_dir() else there.unlink(missing_ok=True)

    return change


def _empty(folder: Path, _: random.Random) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _bare(folder: Path, _: random.Random) -> None:
    _empty(folder, _)
    run(folder, "git", "init", "--quiet", "--bare", ".")


def _foreign_names(folder: Path, _: random.Random) -> None:
    for name in (b"caf\xe9", b"a\nb", b"\x1b[31m", b"-rf", b"x" * 200):
        place = Path(os.fsdecode(os.fsencode(folder / "concepts") + b"/" + name))
        place.mkdir(parents=True)
        (place / "concept.yaml").write_text("placeholder_token: <x>\n")
        (place / os.fsdecode(b"im\xe9ges.dvc")).write_text("outs: []\n")


def _links(folder: Path, _: random.Random) -> None:
    (folder / "concepts" / "loop").symlink_to("loop")
    (folder / "concepts" / "my-cat" / "images").symlink_to("/nowhere")
    (folder / "conceptry.yaml").symlink_to("conceptry.yaml")


def _closed(*path: str, mode: int = 0) -> Change:
    def change(folder: Path, _: random.Random) -> None:
        folder.joinpath(*path).chmod(mode)

    return change


FOLDERS: dict[str, Change] = {
    "as it should be": lambda *_: None,
    "empty": _empty,
    "no git": _remove(".git"),
    "no DVC": _remove(".dvc"),
    "no concepts": _remove("concepts"),
    "bare repo": _bare,
    "file for .git": _write(".git"),
    "broken HEAD": _write(".git", "HEAD"),
    "broken git config": _write(".git", "config"),
    "broken git index": _write(".git", "index"),
    "file for .dvc": _write(".dvc"),
    "broken DVC config": _write(".dvc", "config"),
    "folder for DVC config": _remove(".dvc", "config"),
    "file for concepts": _write("concepts"),
    "broken concept.yaml": _write("concepts", "my-cat", "concept.yaml"),
    "broken images.dvc": _write("concepts", "my-cat", "images.dvc"),
    "file for images": _write("concepts", "my-cat", "images"),
    "broken conceptry.yaml": _write("conceptry.yaml"),
    "broken dvc.yaml": _write("dvc.yaml"),
    "folder for concept.yaml": _write("concepts", "my-cat", "concept.yaml", "x"),
    "broken set-up": _write(".conceptry", "conceptry.toml"),
    "file for .conceptry": _write(".conceptry"),
    "foreign names": _foreign_names,
    "links": _links,
    "read-only": _closed(mode=0o555),
    "no permission": _closed("concepts"),
    "no permission for .git": _closed(".git"),
    "no permission for a file": _closed("concepts", "my-cat", "concept.yaml"),
    "no permission for .dvc": _closed(".dvc"),
    "folder is gone": _remove(),
}
"""Changes of a clone, by name; commands run in it."""
UNPRIVILEGED = ("read-only", "no permission", "no permission for .git", "no permission for a file",
                "no permission for .dvc")  # fmt: skip
"""Folders in which commands run as another user, because root may do everything."""

Server = tuple[int, str, bytes] | str
SERVERS: dict[str, Server] = {
    "away": "away",
    "401": (401, "application/json", b'{"error": "Invalid username or password."}'),
    "403": (403, "application/json", b'{"error": "forbidden"}'),
    "404": (404, "text/plain", b"not found"),
    "429": (429, "text/plain", b"slow down"),
    "502": (502, "text/html", b"<h1>502 Bad Gateway</h1>"),
    "500": (500, "text/html", b"<h1>Oops</h1>"),
    "HTML": (200, "text/html", b"<!doctype html><title>Sign in</title>"),
    "list": (200, "application/json", b"[]"),
    "strange list": (200, "application/json", b'[1, null, {"id": 3}, {"id": "local/my-cat", "cardData": [1]}]'),
    "object": (200, "application/json", b"{}"),
    "null": (200, "application/json", b"null"),
    "cut short": (200, "application/json", b'{"branches": [{"na'),
    "binary": (200, "application/octet-stream", b"\x00\xff" * 50),
    "no HTTP": "no HTTP",
    "hangs": "hangs",
}
"""Answers of a server to every request."""


@dataclass(frozen=True)
class Template:
    """A world that is copied for each example."""

    root: Path
    installation: str
    servers: dict[str, str]


@contextmanager
def servers(hub: str) -> Iterator[dict[str, str]]:
    """Run a server for each state while the block runs; yields their addresses, with `good` for the real Hub."""
    with _stack() as enter:
        found = {"good": hub}
        for name, answer in SERVERS.items():
            if isinstance(answer, tuple):
                port = enter(answering(lambda *_, answer=answer: answer))
            else:
                port = enter({"away": _closed_port, "no HTTP": _no_http, "hangs": _hanging}[answer]())
            found[name] = f"http://127.0.0.1:{port}"
        yield found


@contextmanager
def _stack() -> Iterator[Callable[..., int]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield stack.enter_context


@contextmanager
def _closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def _hanging() -> Iterator[int]:
    """Accept connections, as the kernel does for a listening process that is stopped, and say nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield listener.getsockname()[1]


@contextmanager
def _no_http() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def make_template(root: Path, hub: str, found: dict[str, str]) -> Template:
    """Make an origin with a concept that is published, one whose images are missing, and a clone."""
    root.mkdir()
    world = World(root, hub, "")
    world.start()
    world.write("my-dog", push=False)
    world.write("my-cat")
    world.push()
    before = dict(os.environ)
    os.environ.update(world.variables())
    os.environ["PREFECT_API_URL"] = ""
    try:
        world.publish("my-cat", created="2026-11-01T10:00:00Z", loss=0.05)
        identity = world.installation.id
    finally:
        os.environ.clear()
        os.environ.update(before)
    shutil.rmtree(root / "work", ignore_errors=True)
    return Template(root, identity, found)
