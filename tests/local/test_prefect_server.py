"""What Prefect's server on one machine does about SQLite's lock."""

import asyncio
import socket
import subprocess
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from local.prefect_server import RetrySoon, limit_lock_wait, listen
from tasks.processes import python_module


async def nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_a_request_that_lost_the_lock_is_repeated() -> None:
    parts = [{"type": "http.request", "body": part, "more_body": part == b"he"} for part in (b"he", b"llo")]
    busy, sent = [True, True, False], list[Any]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        assert scope.setdefault("read", body) == b"hello"
        locked = busy.pop(0)
        await send({"type": "http.response.start", "status": 503 if locked else 201, "headers": []})
        await send({"type": "http.response.body", "body": body})
        if locked:
            raise RuntimeError("as Starlette does after it has answered an exception")

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(RetrySoon(app)({"type": "http"}, receive, send))
    assert [message.get("status") or message["body"] for message in sent] == [201, b"hello"]


def test_a_busy_server_names_a_short_pause_that_grows() -> None:
    statuses = iter([503, 503, 200, 503])

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": next(statuses), "headers": [(b"a", b"b")]})

    server, sent = RetrySoon(app, patience=0.0), []

    async def send(message: Any) -> None:
        sent.append(dict(message["headers"]))

    for _ in range(4):
        asyncio.run(server({"type": "http"}, nothing, send))
    assert [headers.get(b"retry-after") for headers in sent] == [b"0.1", b"0.2", None, b"0.4"]
    assert all(headers[b"a"] == b"b" for headers in sent)


def test_statements_of_every_connection_wait_three_seconds(tmp_path: Path) -> None:
    async def timeouts() -> list[int]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/prefect.db", connect_args={"timeout": 60})
        event.listen(engine.sync_engine.pool, "checkout", limit_lock_wait)
        found = []
        async with engine.connect() as one, engine.connect() as other:
            for connection in (one, other, one):
                found.append(await connection.scalar(sa.text("PRAGMA busy_timeout")))
        await engine.dispose()
        return found

    assert asyncio.run(timeouts()) == [3000, 3000, 3000]


def test_a_port_that_another_server_has_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = python_module("local.prefect_server", "--port", str(taken.getsockname()[1]))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr


def test_answers_do_not_wait_for_acknowledgements() -> None:
    async def nagle_is_off() -> bool:
        found = asyncio.get_running_loop().create_future()

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            found.set_result(bool(option))
            writer.close()

        async with await asyncio.start_server(answer, sock=listen(0)) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            off: bool = await found
            writer.close()
        return off

    assert asyncio.run(nagle_is_off())
