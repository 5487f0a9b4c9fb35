"""A program: serve a model folder's handler.py behind the contract of Inference Endpoints.

    python toolkit.py --model-dir DIR --port PORT

`EndpointHandler(DIR)` is made once, with DIR on sys.path; then each POST to / calls it with the body, which must hold
`inputs`. Query parameters become `parameters`. Any exception of the handler becomes the answer 400 {"error": ...}. A
PIL image is sent as an image to clients that accept image/*; every other result is JSON. GET / and GET /health answer
once the handler is loaded.

It imports nothing but the standard library: it runs in the environment of the model's requirements.txt.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import io
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Handler = Callable[[dict[str, Any]], Any]
MAX_BODY = 64 << 20
_TEXT = ("text/plain", "text/html", "text/xml", "application/xml")


def load_handler(folder: Path) -> Handler:
    """Import the folder's handler.py and return its EndpointHandler.

    Raises:
        SystemExit: there is no handler.py.
    """
    source = folder / "handler.py"
    if not source.is_file():
        raise SystemExit(f"There is no handler.py in {folder.name}: only custom handlers are run here")
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("handler", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["handler"] = module
    spec.loader.exec_module(module)
    handler: Handler = module.EndpointHandler(str(folder))
    return handler


def read_body(content_type: str | None, body: bytes) -> dict[str, Any]:
    """Return the request's data, read by its content type.

    Raises:
        ValueError: the body does not have the form of its content type, or that type is not supported.
    """
    kind = (content_type or "application/json").split(";")[0].strip().lower()
    if kind == "application/json":
        try:
            data = json.loads(body)
        except ValueError:
            raise ValueError("The body is not valid JSON") from None
        if not isinstance(data, dict):
            raise ValueError("The body must be a JSON object")
        return data
    if kind.startswith("image/"):
        from PIL import Image

        return {"inputs": Image.open(io.BytesIO(body)).convert("RGB")}
    if kind in _TEXT:
        return {"inputs": body.decode("utf-8")}
    if kind.startswith("audio/") or kind == "application/octet-stream":
        return {"inputs": body}
    raise ValueError(f'Content type "{kind}" is not supported; send application/json')


def parameters_of(query: str) -> dict[str, Any]:
    """Return the query parameters, with numbers and booleans converted."""
    return {key: _value(text) for key, text in parse_qsl(query, keep_blank_values=True)}


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def write_answer(answer: Any, accept: str) -> tuple[str, bytes]:
    """Return an answer's media type and bytes.

    Raises:
        ValueError: the client accepts images only, and the handler returned something else.
    """
    if "image/" in accept:
        if not hasattr(answer, "save"):
            raise ValueError(f"Accept is {accept}, but the handler returned {type(answer).__name__}, no image")
        wanted = accept.split(",")[0].split(";")[0].strip()
        name = wanted.removeprefix("image/") if wanted in ("image/png", "image/jpeg", "image/webp") else "png"
        buffer = io.BytesIO()
        answer.save(buffer, name)
        return f"image/{name}", buffer.getvalue()
    return "application/json", json.dumps(answer, default=_plain).encode()


def _plain(value: Any) -> Any:
    # numpy's scalars and arrays, without importing numpy.
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def answer_to(handler: Handler, query: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
    """Call the handler for one request; return status, media type and bytes of the answer, also after an error."""
    try:
        data = read_body(headers.get("content-type"), body)
        if "inputs" not in data and "instances" not in data:
            raise ValueError(f"Body needs to provide a inputs key, received: {json.dumps(data, default=str)[:200]}")
        if query and "parameters" not in data:
            data["parameters"] = parameters_of(query)
        started = time.perf_counter()
        answer = handler(data)
        print(f"handled in {time.perf_counter() - started:.3f} s", flush=True)
        return (200, *write_answer(answer, headers.get("accept") or "*/*"))
    except Exception as error:  # noqa: BLE001 - the contract: every exception is the answer
        traceback.print_exc()
        return 400, "application/json", json.dumps({"error": str(error)}).encode()


def make_server(handler: Handler, port: int) -> ThreadingHTTPServer:
    """Return a server that listens on 127.0.0.1."""

    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if urlsplit(self.path).path in ("/", "/health"):
                self._send(200, "text/plain; charset=utf-8", b"Ok")
            else:
                self._send(404, "application/json", b'{"error": "Not Found"}')

        def do_POST(self) -> None:
            address = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            origin = self.headers.get("Origin")
            if origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):
                self.close_connection = True
                self._send(403, "application/json", b'{"error": "A page of another origin sent this request"}')
            elif address.path not in ("/", "/predict"):
                self.close_connection = True
                self._send(404, "application/json", b'{"error": "Not Found"}')
            elif length > MAX_BODY or "chunked" in self.headers.get("Transfer-Encoding", ""):
                self.close_connection = True
                self._send(413, "application/json", b'{"error": "The body is too large, or its size is not given"}')
            else:
                headers = {key.lower(): value for key, value in self.headers.items()}
                self._send(*answer_to(handler, address.query, headers, self.rfile.read(length)))

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            if self.path != "/health":
                print(format % arguments, flush=True)

    return ThreadingHTTPServer(("127.0.0.1", port), Request)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    print(f"Loading {options.model_dir / 'handler.py'}", flush=True)
    handler = load_handler(options.model_dir)
    print("The handler is ready", flush=True)
    make_server(handler, options.port).serve_forever()


if __name__ == "__main__":
    main()
