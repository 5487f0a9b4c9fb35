"""python -m emulators.hub --root DIR [--host 127.0.0.1] [--port 8600] [--accounts FILE]

Prints `hub: http://HOST:PORT` when it takes connections, and serves until it is interrupted (Ctrl-C, SIGTERM).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emulators.hub.accounts import Accounts
from emulators.hub.server import serve


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 2 when it was called wrongly."""
    parser = argparse.ArgumentParser(prog="python -m emulators.hub", description="A Hugging Face Hub on this machine.")
    parser.add_argument("--root", type=Path, required=True, help="folder that keeps everything; made when missing")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: only this machine)")
    parser.add_argument("--port", type=int, default=8600, help="port to listen on; 0 takes a free one (default: 8600)")
    parser.add_argument("--accounts", type=Path, help="YAML list of accounts (default: user local, token hf_local)")
    options = parser.parse_args(arguments)
    try:
        accounts = Accounts.load(options.accounts) if options.accounts else None
        serve(options.root, options.host, options.port, accounts, lambda url: print(f"hub: {url}", flush=True))
    except (ValueError, OSError) as error:
        print(f"hub: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
