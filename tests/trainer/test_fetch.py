"""`python -m trainer.base_weights.fetch`: weights come whole and right, or not at all."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from trainer.base_weights import presets
from trainer.base_weights.fetch import FetchError, cache_folder, fetch, fetch_for_drawing, main
from trainer.base_weights.presets import PresetFile

DATA = bytes(range(256)) * 4096


class Server(BaseHTTPRequestHandler):
    """Serves DATA, with ranges; "short" says more than it sends, and "huge" says more than any disk holds."""

    asked: list[str | None]

    def do_GET(self) -> None:
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        type(self).asked.append(self.headers["Range"])
        if "plain" in self.path:
            start = 0  # knows no ranges
        data = DATA[::-1] if "wrong" in self.path else DATA
        if "missing" in self.path or start >= len(DATA):
            self.send_error(404 if "missing" in self.path else 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(10**18 if "huge" in self.path else len(DATA) - start))
        self.end_headers()
        if "huge" not in self.path:
            self.wfile.write(data[start : start + len(DATA) // 3 if "short" in self.path else None])

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
    return PresetFile("weights.h5", hashlib.sha256(data).hexdigest(), (url,))


def test_a_file_is_fetched_once(address: str, tmp_path: Path) -> None:
    assert fetch([file(f"{address}/w")], tmp_path) == ["weights.h5"]
    assert (tmp_path / "weights.h5").read_bytes() == DATA
    assert fetch([file(f"{address}/w")], tmp_path) == []
    assert len(Server.asked) == 1


def test_a_download_that_was_cut_off_goes_on(address: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="what has come is kept"):
        fetch([file(f"{address}/short")], tmp_path)
    assert not (tmp_path / "weights.h5").exists()
    fetch([file(f"{address}/w")], tmp_path)
    assert Server.asked[-1] == f"bytes={len(DATA) // 3}-"
    assert (tmp_path / "weights.h5").read_bytes() == DATA


def test_what_starts_by_itself_goes_on_by_itself_as_long_as_something_comes(address: str, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    fetch([file(f"{address}/short")], tmp_path, lambda *said: told.append(said), go_on=True)
    assert (tmp_path / "weights.h5").read_bytes() == DATA
    assert len(Server.asked) == 4
    assert told[-1] == ("weights.h5", len(DATA), len(DATA))
    with pytest.raises(FetchError, match=r"weights\.h5: http://127\.0\.0\.1:9/w: .*refused"):
        fetch([file("http://127.0.0.1:9/w")], tmp_path / "other", go_on=True)


def test_a_disk_that_is_too_small_is_said_before_it_is_full(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        FetchError, match=r"weights\.h5: 1000000000\.0 GB are still to come, and the disk of .* GB left"
    ):
        fetch([file(f"{address}/huge")], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match="cannot be made"):
        fetch([file(f"{address}/w")], tmp_path / "file")


def test_the_next_source_is_asked_for_the_rest(address: str, tmp_path: Path) -> None:
    sources = ["http://127.0.0.1:9", f"{address}/missing", f"{address}/short", f"{address}/mirror"]
    assert fetch([file(f"{address}/w")], tmp_path, sources=sources) == ["weights.h5"]
    assert (tmp_path / "weights.h5").read_bytes() == DATA
    assert Server.asked == [None, None, f"bytes={len(DATA) // 3}-"], "refused, 404, cut off, and the rest"


def test_a_source_that_knows_no_ranges_sends_all_again(address: str, tmp_path: Path) -> None:
    fetch([file(f"{address}/w")], tmp_path, sources=[f"{address}/short", f"{address}/plain"])
    assert (tmp_path / "weights.h5").read_bytes() == DATA


def test_wrong_bytes_of_one_source_do_not_spoil_what_the_next_one_sends(address: str, tmp_path: Path) -> None:
    fetch([file(f"{address}/w")], tmp_path, sources=[f"{address}/wrong", f"{address}/mirror"])
    assert (tmp_path / "weights.h5").read_bytes() == DATA
    (tmp_path / "weights.h5").unlink()
    # A third of the wrong file, and then the rest of the right one.
    Server.asked.clear()
    fetch([file(f"{address}/w")], tmp_path, sources=[f"{address}/short/wrong", f"{address}/mirror"])
    assert (tmp_path / "weights.h5").read_bytes() == DATA
    assert Server.asked == [None, f"bytes={len(DATA) // 3}-", None]


def test_what_no_source_has_is_said_of_each(address: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"(?s)/missing/weights\.h5 answers 404.*/wrong/weights\.h5 sent has sha256"):
        fetch([file(f"{address}/w")], tmp_path, sources=[f"{address}/missing", f"{address}/wrong"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / "weights.h5").write_bytes(DATA)
    fetch([file("http://127.0.0.1:9/w")], tmp_path / "here", sources=[(tmp_path / "usb").as_uri()])
    assert (tmp_path / "here" / "weights.h5").read_bytes() == DATA


def test_drawing_fetches_what_it_reads_and_lacks(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch_for_drawing("tiny") is None
    for name in ("kcv_encoder.h5", "kcv_decoder.h5", "bpe_simple_vocab_16e6.txt.gz"):
        (tmp_path / name).write_text("a person's own")
    monkeypatch.setenv("CONCEPTRY_BASE_URL", f"{address}/mirror/")
    with pytest.raises(
        FetchError, match=rf"kcv_diffusion_model\.h5: what {address}/mirror/kcv_diffusion_model\.h5 sent"
    ):
        fetch_for_drawing("sd-v1-4", tmp_path)
    assert len(Server.asked) == 1
    (tmp_path / "kcv_diffusion_model.h5").write_text("found")
    (tmp_path / "kcv_encoder.h5").unlink()
    assert fetch_for_drawing("sd-v1-4", tmp_path, text_encoder=False) == str(tmp_path)
    assert len(Server.asked) == 1, "neither the VAE's encoder nor a text encoder that the version brings"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "kept"))
    assert cache_folder("sd-v1-4") == tmp_path / "kept" / "conceptry" / "sd-v1-4"


@pytest.mark.parametrize(("path", "data", "message"), [("missing", DATA, "404"), ("w", b"other", "not 0?[0-9a-f]+")])
def test_what_is_not_right_is_not_kept(address: str, tmp_path: Path, path: str, data: bytes, message: str) -> None:
    with pytest.raises(FetchError, match=message):
        fetch([file(f"{address}/{path}", data)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_fetched_again(address: str, tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"half")
    assert fetch([file(f"{address}/w")], tmp_path) == ["weights.h5"]


def test_a_clip_model_comes_into_a_folder_of_its_own(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert presets.clip_folder(tmp_path) is None
    assert fetch([PresetFile("clip/w", file("").sha256, (f"{address}/w",))], tmp_path) == ["w"]
    assert (tmp_path / "clip" / "w").read_bytes() == DATA
    assert presets.clip_folder(tmp_path) == tmp_path / "clip"
    monkeypatch.setenv("CONCEPTRY_BASE_URL", f"{address}/mirror")
    monkeypatch.setattr("sys.argv", ["fetch", "--base-model", "tiny", "--into", str(tmp_path), "--clip"])
    assert main() == 1
    assert f"config.json: what {address}/mirror/clip/config.json sent" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["fetch", "--base-model", "tiny", "--into", str(tmp_path)])
    assert main() == 0
    assert "nothing to fetch" in capsys.readouterr().out


def test_a_file_without_an_address_is_not_passed_over(tmp_path: Path) -> None:
    known = PresetFile("mine/weights.h5", hashlib.sha256(DATA).hexdigest())
    with pytest.raises(FetchError, match="no address is known; copy the file to"):
        fetch([known], tmp_path)
    (tmp_path / "mine").mkdir(exist_ok=True)
    (tmp_path / "mine" / "weights.h5").write_bytes(DATA)
    assert fetch([known], tmp_path) == []
