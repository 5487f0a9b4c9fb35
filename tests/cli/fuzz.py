"""Fuzz of the command line: commands, arguments, folders, servers and settings drawn by a seed.

    python -m tests.cli.fuzz --commands 2000 --seed 1

runs that many commands in this process, some as processes of their own, and prints each that showed a traceback or an
unexpected error. A command passes if it ends by itself with a known exit code and says why it failed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect.context import refresh_global_settings_context
from pydantic import ValidationError

import tests.conftest  # noqa: F401 - gives this process a home of its own, and no settings of its user
from cli import main
from cli.app import COMMANDS, GROUPS, LazyCommand
from cli.failures import BUG
from emulators.hub.server import running
from tests.support.fuzz_worlds import FOLDERS, NOBODY, UNPRIVILEGED, Template, make_template, servers

STAYS = frozenset({"up", "demo", "worker", "playground", "endpoint", "hub serve", "team up", "team backup", "train",
                   "team restore", "base fetch", "setup gcp"})  # fmt: skip
"""Commands that serve, train or download once they begin; they only get arguments that are refused."""
LONGEST = 90.0
"""Seconds that a command may take, also with a server that hangs: its client by itself would try for six minutes."""
NAMES = (
    "my-cat", "my-dog", "my-cta", "my-cat@v1", "my-cat@v9", "my-cat@", "@", "@v1", "my-cat@v1@v2", "", " ", "-", ".",
    "..", "../my-cat", "a/b", "my cat", "%00", "<a>", "[red]", "[/]", "{}", "é", "\udcff", "x" * 5000, "\x1b[31m",
    "my-cat@" + "9" * 50, "MY-CAT", "v1", "none", "latest", "\n", "🎨",
)  # fmt: skip
TEXTS = (*NAMES, "main", "HEAD", "HEAD~9", "0" * 40, "^{", ":/", "tiny", "sd-v1-4", "sd", "gs://b/c", "s3://", "http://[",
         "file:///", "ftp://x", "1e400", "-1", "--", "--json", "process", "docker", "hf_x")  # fmt: skip
PATHS = ("", ".", "..", "concepts", "concepts/my-cat", "concepts/my-cat/concept.yaml", "concepts/my-cat/images",
         "nowhere", "nowhere/below", ".git", ".dvc/config", "~", "x" * 300,
         "concepts/my-cat/concept.yaml/below", "\udcff", "-", "a\nb")  # fmt: skip
NUMBERS = ("0", "1", "-1", "3", "9" * 30, "1e3", "x", "", "0x10", "nan", "1.5")
DATES = ("2026-12-01", "2026-13-01", "9999-12-31", "0001-01-01", "today", "")
SETTINGS: dict[str, tuple[str, ...]] = {
    "CONCEPTRY_REPO": ("", "/nowhere", "http://[", "ssh://x@127.0.0.1:1/x", "-x", "a\nb", "https://u:p@"),
    "CONCEPTRY_WORK": ("relative", "/dev/null", "/dev/null/x", "/proc/x", ""),
    "CONCEPTRY_HUB_ENDPOINT": ("http://", "http://[::1", "http://a b", "http://x:99999", "ftp://x", "http://127.0.0.1:0"),
    "CONCEPTRY_HUB_OWNER": ("", "a/b", "é", "../x", "x" * 300, "a b"),
    "CONCEPTRY_HUB_TOKEN": ("", "hf_é", "hf_a\nb", "wrong"),
    "CONCEPTRY_BRANCH": ("", "nowhere", "-x", "a..b", "@{"),
    "CONCEPTRY_PATH": ("nowhere", "..", "/x", "concepts", ""),
    "CONCEPTRY_MAX_PARALLEL": ("x", "0", "-1"),
    "CONCEPTRY_BACKEND": ("vertex", "moon"),
    "CONCEPTRY_BASE_DIR": ("/nowhere", "/dev/null", ""),
    "CONCEPTRY_HUB_TOKEN_BLOCK": ("block",),
    "CONCEPTRY_DEPLOYMENT_SUFFIX": ("X", "-second"),
    "CONCEPTRY_VERTEX_PROJECT": ("p",),
    "PREFECT_API_URL": ("x", "http://", "ftp://x", "http://[::1"),
    "COLUMNS": ("1", "20", "x", "0"),
    "TERM": ("dumb", "xterm-256color"),
    "HOME": ("/dev/null/x",),
    "TMPDIR": ("/nowhere",),
    "PATH": ("/nowhere",),
    "LC_ALL": ("C", "xx_XX.X"),
    "HF_HUB_OFFLINE": ("1",),
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One command in one world."""

    seed: str
    arguments: list[str]
    folder: str
    hub: str
    prefect: str
    settings: dict[str, str]

    def __str__(self) -> str:
        shown = " ".join(repr(one[:60]) for one in self.arguments)
        world = f"folder: {self.folder}; Hub: {self.hub}; Prefect: {self.prefect}; {self.settings}"
        return f"[{self.seed}] conceptry {shown}  ({world})"


@dataclass
class Result:
    """What a command did."""

    example: Example
    code: int | None = None
    output: str = ""
    problem: str = ""
    seconds: float = 0.0


@dataclass
class Figures:
    """What many commands did."""

    results: list[Result] = field(default_factory=list)

    @property
    def failed(self) -> list[Result]:
        return [one for one in self.results if one.problem]


def all_commands() -> dict[str, Any]:
    """Return each command with its parameters, by its name."""
    lazy = {name: LazyCommand(name, *about) for name, about in COMMANDS.items()}
    for group, (_, commands) in GROUPS.items():
        lazy |= {f"{group} {name}": LazyCommand(name, *about, group=group) for name, about in commands.items()}
    return {name: command.load() for name, command in lazy.items()}


def draw(seed: str, commands: dict[str, Any], found: dict[str, str]) -> Example:
    """Draw an example."""
    chance = random.Random(seed)
    name = chance.choice([*commands])
    arguments = [*name.split(), *_arguments(commands[name], chance)]
    if name in STAYS:
        arguments.insert(len(name.split()), chance.choice(["--nonsense", "--root=/dev/null/x", "--help"]))
        arguments = arguments if arguments[len(name.split())] != "--root=/dev/null/x" else [*name.split(), "--port=x"]
    if chance.random() < 0.05:
        arguments[0] = arguments[0][:-1] + chance.choice(["", "x", "é"])
    settings = {
        key: chance.choice(SETTINGS[key]) for key in chance.sample([*SETTINGS], chance.choice([0, 0, 0, 1, 1, 2]))
    }
    return Example(
        seed,
        arguments,
        chance.choice([*FOLDERS]),
        "good" if chance.random() < 0.6 else chance.choice([*found]),
        "none" if chance.random() < 0.7 else chance.choice([one for one in found if one != "good"]),
        settings,
    )


def _arguments(command: Any, chance: random.Random) -> Iterator[str]:
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            for _ in range(chance.choice([1, 1, 1, 1, 1, 1, 0, 2])):
                value = _value(parameter, chance)
                yield value if chance.random() < 0.9 or value[:1] != "-" else f"./{value}"
        elif chance.random() < 0.25:
            option = chance.choice([*parameter.opts, *parameter.secondary_opts])
            if parameter.is_flag:
                yield option
            else:
                yield f"{option}={_value(parameter, chance)}"


def _value(parameter: Any, chance: random.Random) -> str:
    kind = f"{parameter.name} {getattr(parameter, 'type_descriptor', '')}".lower()
    if chance.random() < 0.1:
        return chance.choice(TEXTS)
    for word, values in (("int", NUMBERS), ("float", NUMBERS), ("datetime", DATES), ("path", PATHS)):
        if word in kind:
            return chance.choice(values)
    return chance.choice(NAMES if parameter.param_type_name == "argument" else TEXTS)


def carry_out(example: Example, template: Template, scratch: Path) -> Result:
    """Run a command in this process, in a copy of the world."""
    world = scratch / "copy"
    shutil.copytree(template.root, world, symlinks=True)
    chance = random.Random(example.seed)
    result, before, cwd = Result(example), dict(os.environ), Path.cwd()
    unprivileged = example.folder in UNPRIVILEGED
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    start = time.monotonic()
    try:
        FOLDERS["as it should be" if example.folder == "folder is gone" else example.folder](world / "clone", chance)
        os.chdir(world / "clone")
        if example.folder == "folder is gone":
            shutil.rmtree(world / "clone")
        os.environ.update(_variables(example, template, world))
        _renew_prefect_settings()
        with _as_nobody(world) if unprivileged else contextlib.nullcontext(), _streams(said):
            main(example.arguments)
        result.problem = "main returned"
    except SystemExit as end:
        result.code = end.code if isinstance(end.code, int) else -1
    except BaseException:  # noqa: BLE001 - what the fuzz is for
        result.problem = traceback.format_exc()
    finally:
        result.seconds = time.monotonic() - start
        os.environ.clear()
        os.environ.update(before)
        _renew_prefect_settings()
        os.chdir(cwd)
        _open_again(world)
        shutil.rmtree(world, ignore_errors=True)
    result.output = said.buffer.getvalue().decode(errors="replace")  # type: ignore[attr-defined]
    result.problem = result.problem or judge(result)
    return result


def judge(result: Result) -> str:
    """Return what is wrong with the end of a command; empty if nothing is."""
    if any(one in result.output for one in ("Traceback (most recent call last)", "Exception ignored", BUG)):
        return "a traceback"
    if result.seconds > LONGEST:
        return f"took {result.seconds:.0f} s"
    if result.code not in (0, 1, 2):
        return f"exit code {result.code}"
    return "" if result.code == 0 or result.output.strip() else "no word"


def _variables(example: Example, template: Template, world: Path) -> dict[str, str]:
    found = {
        "CONCEPTRY_REPO": str(world / "origin.git"),
        "CONCEPTRY_INSTALLATION": template.installation,
        "CONCEPTRY_WORK": str(world / "work"),
        "CONCEPTRY_HUB_ENDPOINT": template.servers[example.hub],
        "CONCEPTRY_HUB_OWNER": "local",
        "CONCEPTRY_HUB_TOKEN": "hf_local",
        "PREFECT_API_URL": "" if example.prefect == "none" else f"{template.servers[example.prefect]}/api",
    }
    if "set-up" in example.folder or "conceptry" in example.folder:
        del found["CONCEPTRY_REPO"]
    return found | example.settings


def _renew_prefect_settings() -> None:
    """Have Prefect read the environment, which it otherwise reads once; what it refuses is the command's to tell."""
    with contextlib.suppress(ValidationError):
        refresh_global_settings_context()


@contextlib.contextmanager
def _streams(said: io.TextIOWrapper) -> Iterator[None]:
    stdin = sys.stdin
    with Path(os.devnull).open() as nothing, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = stdin


@contextlib.contextmanager
def _as_nobody(world: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    for path in (world, *world.rglob("*")):
        with contextlib.suppress(OSError):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    _set_thread_euid(NOBODY)
    try:
        yield
    finally:
        _set_thread_euid(0)


def _set_thread_euid(user: int) -> None:
    """Set the effective user of this thread alone: os.seteuid would take the rights of all servers in this process."""
    number = {"x86_64": 117, "aarch64": 147}[platform.machine()]  # setresuid
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, -1, user, -1):
        raise OSError(ctypes.get_errno(), "setresuid")


def _open_again(world: Path) -> None:
    for path in (world / "clone", world / "clone" / "concepts"):
        if path.is_dir():
            path.chmod(0o755)


@contextlib.contextmanager
def template_world(root: Path) -> Iterator[Template]:
    """Run the servers and make the world that is copied while the block runs."""
    with running(root / "hub") as hub, servers(hub.url) as found:
        yield make_template(root / "world", hub.url, found)


def fuzz(count: int, seed: int, template: Template, scratch: Path) -> Figures:
    """Run commands."""
    commands, figures = all_commands(), Figures()
    for number in range(count):
        figures.results.append(carry_out(draw(f"{seed}/{number}", commands, template.servers), template, scratch))
    return figures


def _report(figures: Figures) -> None:
    for one in figures.failed:
        print(
            f"{one.example}\n  {one.problem.strip().splitlines()[-1]}\n  {one.output.strip()[-600:]}\n", file=sys.stderr
        )
    codes = Counter(one.code for one in figures.results)
    slowest = sorted(figures.results, key=lambda one: -one.seconds)[:5]
    print(f"{len(figures.results)} commands, {len(figures.failed)} with a traceback; exit codes {dict(codes)}")
    for one in slowest:
        print(f"  {one.seconds:.1f} s {one.example}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="conceptry-fuzz-") as name, template_world(Path(name)) as made:
        Path(name).chmod(0o755)
        done = fuzz(asked.commands, asked.seed, made, Path(name))
    _report(done)
    sys.exit(1 if done.failed else 0)
