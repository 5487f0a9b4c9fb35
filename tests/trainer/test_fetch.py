"""`python -m trainer.fetch`: weights come whole and right, or not at all."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from trainer.fetch import FetchError, fetch
from trainer.presets import PresetFile

DATA = bytes(range(256)) * 4096


class Server(BaseHTTPRequestHandler):
    """Serves DATA, with ranges; /short/ says more than it sends."""

    asked: list[str | None]

    def do_GET(self) -> None:
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        type(self).asked.append(self.headers["Range"])
        if "missing" in self.path or start >= len(DATA):
            self.send_error(404 if "missing" in self.path else 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        self.wfile.write(DATA[start : start + 1000 if "short" in self.path else None])

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    Server.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def file(url: str, data: bytes = DATA) -> PresetFile:
    return PresetFile("weights.h5", hashlib.sha256(data).hexdigest(), url)


def test_a_file_is_fetched_once(address: str, tmp_path: Path) -> None:
    assert fetch([file(f"{address}/w")], tmp_path) == ["weights.h5"]
    assert (tmp_path / "weights.h5").read_bytes() == DATA
    assert fetch([file(f"{address}/w")], tmp_path) == []
    assert len(Server.asked) == 1


def test_a_download_that_was_cut_off_goes_on(address: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="run the same command again"):
        fetch([file(f"{address}/short")], tmp_path)
    assert not (tmp_path / "weights.h5").exists()
    fetch([file(f"{address}/w")], tmp_path)
    assert Server.asked[-1] == "bytes=1000-"
    assert (tmp_path / "weights.h5").read_bytes() == DATA


@pytest.mark.parametrize(("path", "data", "message"), [("missing", DATA, "404"), ("w", b"other", "not 0?[0-9a-f]+")])
def test_what_is_not_right_is_not_kept(address: str, tmp_path: Path, path: str, data: bytes, message: str) -> None:
    with pytest.raises(FetchError, match=message):
        fetch([file(f"{address}/{path}", data)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_fetched_again(address: str, tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"half")
    assert fetch([file(f"{address}/w")], tmp_path) == ["weights.h5"]
