"""python -m emulators.vertex --root DIR [--port 4270] [--web-port 4271] [--storage-port 4272] [--capacity 1]

Vertex AI and Cloud Storage on this machine. Prints the environment that the clients of another process need, then
`cloud: ready` once it accepts connections, and serves until it is interrupted (Ctrl-C, SIGTERM).
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from emulators.vertex.cloud import BUCKET, PROJECT, running


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 2 when the emulator cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m emulators.vertex", description="Vertex AI and Cloud Storage on this machine."
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of jobs and buckets; created when missing")
    parser.add_argument("--port", type=int, default=4270, help="JobService, gRPC with TLS on localhost (4270)")
    parser.add_argument("--web-port", type=int, default=4271, help="tokens, quotas, images and pages of jobs (4271)")
    parser.add_argument("--storage-port", type=int, default=4272, help="Cloud Storage (4272)")
    parser.add_argument("--capacity", type=int, default=1, help="jobs that have machines at the same time (1)")
    parser.add_argument("--project", default=PROJECT, help=f"id of the only project ({PROJECT})")
    parser.add_argument("--bucket", default=BUCKET, help=f"bucket that exists from the start ({BUCKET})")
    given = parser.parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with running(
            given.root.resolve(),
            project=given.project,
            bucket=given.bucket,
            endpoint_port=given.port,
            web_port=given.web_port,
            storage_port=given.storage_port,
            capacity=given.capacity,
        ) as cloud:
            for name, value in cloud.environment().items():
                print(f"export {name}={value}")
            print(f"cloud: JobService {cloud.endpoint}, jobs {cloud.web}/jobs, gs://{cloud.bucket}")
            print("cloud: ready", flush=True)
            stopped.wait()
    except RuntimeError as error:
        print(f"cloud: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
