"""A command that runs within limits: start it, wait for its end, or end it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from emulators.hub.apps.limits import Limits

_PROGRAM = Path(__file__).with_name("sandbox_program.py")
_LAST_LINES = 12
_END_SECONDS = 15.0


class Sandbox:
    """A command that runs within limits. `ended` is done with a sentence about why it ended."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, limits: Limits) -> None:
        self._process, self._log, self._limits = process, log, limits
        self.ended = asyncio.create_task(self._watch())

    @classmethod
    async def start(
        cls, command: list[str], *, folder: Path, environment: Mapping[str, str], log: Path, limits: Limits
    ) -> Sandbox:
        """Start a command in a folder; its environment holds `environment` and nothing else."""
        log.write_bytes(b"")
        bounds = ["--log", str(log), "--memory", str(limits.memory), "--processes", str(limits.processes)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_PROGRAM),
            *bounds,
            "--",
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env=dict(environment),
        )
        return cls(process, log, limits)

    async def wait_until_listening(self, port: int) -> bool:
        """Wait until the command listens on a port; false when it ended or took longer than the limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.start_seconds):
                while not self.ended.done():
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                        writer.close()
                        return True
                    await asyncio.wait([self.ended], timeout=0.2)
        return False

    async def end(self) -> None:
        """End the command and every process that it started; returns when they are gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await asyncio.shield(self.ended)
        except TimeoutError:
            self._process.kill()
            await self.ended

    async def _watch(self) -> str:
        assert self._process.stdout is not None
        output = await self._process.stdout.read()
        await self._process.wait()
        try:
            end = json.loads(output)
        except ValueError:
            return "The process that supervises it was killed"
        if end["reason"] == "memory":
            return f"Memory limit exceeded ({self._limits.memory / 1e9:.1f} GB)"
        if end["reason"] == "processes":
            return f"Process limit exceeded ({self._limits.processes})"
        return f"Exit code: {end['exit']}. Reason: {last_lines(self._log)}"


def last_lines(log: Path) -> str:
    """Return the last lines of a log, without their times."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:
        return ""
    return "\n".join(line.partition(" ")[2] for line in lines)
