"""Prefect's server for one machine: `python -m local.prefect_server --port PORT`.

The same server as `prefect server start`, but a statement waits 3 s for SQLite's write lock instead of Prefect's 60 s.
While it waits, the whole server can be blocked: the event loop frees the cursor of an earlier, failed statement of the
same connection, for which it takes the mutex that the waiting statement holds, and the transaction that has the lock
continues in that very loop. Only the end of the wait resolves this. The statement then fails with "database is locked",
which Prefect answers with 503, and its clients and services try again.
"""

from __future__ import annotations

import argparse
from typing import Any

import uvicorn
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.pool import ConnectionPoolEntry, Pool

LOCK_WAIT = 3.0
"""Seconds for which a statement waits for SQLite's write lock."""


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.prefect_server", description="Prefect's server")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    port = parser.parse_args().port
    event.listen(Pool, "checkout", limit_lock_wait)
    from prefect.server.api.server import create_app  # reads Prefect's settings when it is imported

    uvicorn.run(create_app(final=True), host="127.0.0.1", port=port, log_level="warning")


def limit_lock_wait(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Set SQLite's busy timeout of a pooled connection, once; a listener of the pool's event "checkout".

    Prefect sets its own when it connects, after every listener of "connect" of another module.
    """
    if not isinstance(connection, AsyncAdapt_aiosqlite_connection) or record.info.get(limit_lock_wait):
        return
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000:.0f}")
    cursor.close()
    record.info[limit_lock_wait] = True


if __name__ == "__main__":
    main()
