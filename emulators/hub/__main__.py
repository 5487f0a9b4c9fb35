"""python -m emulators.hub --root DIR [--host 127.0.0.1] [--port 8600] [--accounts FILE] [--config FILE]
    [--public-url URL]

Prints `hub: http://HOST:PORT` once it accepts connections, and serves until it is interrupted (Ctrl-C, SIGTERM).
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from emulators.hub.accounts import Accounts
from emulators.hub.apps.limits import Limits
from emulators.hub.config import HubConfig
from emulators.hub.server import is_local, serve


def _print_address(url: str) -> None:
    print(f"hub: {url}", flush=True)


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as https://hub.example.org")
    return text.rstrip("/")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 2 for wrong options, or an address that is taken."""
    parser = argparse.ArgumentParser(prog="python -m emulators.hub", description="A Hugging Face Hub on this machine.")
    parser.add_argument("--root", type=Path, required=True, help="folder of repos and objects; created when missing")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: only this machine)")
    parser.add_argument("--port", type=int, default=8600, help="port to listen on; 0 for any free one (default: 8600)")
    parser.add_argument("--accounts", type=Path, help="YAML list of accounts (default: user local, token hf_local)")
    parser.add_argument("--config", type=Path, help="YAML: what pages show of files, and the environment of apps")
    parser.add_argument(
        "--run",
        action=argparse.BooleanOptionalAction,
        help="run Spaces and endpoints as processes of this machine, with your rights (default: on loopback)",
    )
    parser.add_argument("--max-apps", type=int, default=4, help="how many of them run at once (default: 4)")
    parser.add_argument("--app-memory", type=float, default=4.0, help="memory of each, in GB (default: 4)")
    parser.add_argument(
        "--public-url", type=_address, help="https://... of a reverse proxy in front; links begin with it"
    )
    options = parser.parse_args(arguments)
    # uvicorn raises SIGTERM again after its shutdown; as SystemExit it leaves time to end the apps.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        accounts = Accounts.load(options.accounts) if options.accounts else None
        limits = None
        if is_local(options.host, options.public_url) if options.run is None else options.run:
            limits = Limits(apps=max(options.max_apps, 1), memory=int(options.app_memory * 1e9))
        config = HubConfig.load(options.config) if options.config else None
        serve(
            options.root,
            host=options.host,
            port=options.port,
            ready=_print_address,
            accounts=accounts,
            limits=limits,
            config=config,
            public_url=options.public_url,
        )
    except (ValueError, OSError) as error:
        print(f"hub: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
