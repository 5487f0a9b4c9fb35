"""A DVC remote over HTTP that wants a password in the header X-Token."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CONFIG = """\
[core]
    remote = storage
['remote "storage"']
    url = {url}
    auth = custom
    custom_auth_header = X-Token
"""
"""`.dvc/config` in git; the password is in the machine's configuration."""


@dataclass
class Storage:
    """Its address, and the passwords that it was sent."""

    url: str
    seen: list[str | None] = field(default_factory=list)


@contextmanager
def serving_storage(folder: Path, password: str) -> Iterator[Storage]:
    """Serve a folder to whoever knows the password."""
    told = Storage("")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def send_head(self) -> object:  # type: ignore[override]
            told.seen.append(self.headers.get("X-Token"))
            if told.seen[-1] != password:
                self.send_error(401)
                return None
            return super().send_head()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
