"""An origin over HTTP that wants a password, and may hang: git's dumb protocol over the files of a bare repository."""

import base64
import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class GitServer:
    """What the server was sent, and how it answers."""

    bare: Path
    password: str
    port: int = 0
    seen: list[str | None] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    answer: threading.Event = field(default_factory=threading.Event)

    def url(self, user: str, password: str) -> str:
        return f"http://{user}:{password}@127.0.0.1:{self.port}/"

    @property
    def shown(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def refresh(self) -> None:
        """Write what the dumb protocol reads, after a push."""
        subprocess.run(["git", "update-server-info"], cwd=self.bare, check=True)


@contextmanager
def serving(bare: Path, password: str) -> Iterator[GitServer]:
    """Serve a bare repository to whoever knows the password; while `answer` is cleared, nobody is answered."""
    told = GitServer(bare, password)
    told.answer.set()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(bare))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            told.seen.append(given)
            told.asked.set()
            told.answer.wait()
            _, _, coded = (given or "").partition(" ")
            if base64.b64decode(coded).decode().partition(":")[2] != told.password:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="origin"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            super().do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            told.answer.set()
            server.shutdown()
            thread.join()
