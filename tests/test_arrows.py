"""The arrows between the rooms go one way: flows -> tasks -> conceptry, and the others stand alone.

The modules are parsed, not imported, so that an import inside a function counts too.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from conceptry.space_settings import SERVING_MODULES, SPACE_MODULES

REPO = Path(__file__).resolve().parent.parent
ROOMS = (
    "benchmarks",
    "cli",
    "conceptry",
    "emulators",
    "flows",
    "handler_template",
    "local",
    "space_template",
    "tasks",
    "tests",
    "trainer",
)
TASK_PACKAGES = frozenset({"dvc", "git", "hub", "records", "space", "training"})


def modules(paths: Iterable[str]) -> frozenset[str]:
    """Return the dotted names of modules, given their files; a package's `__init__` is not one to be named."""
    return frozenset(path.removesuffix(".py").replace("/", ".") for path in paths if "__init__" not in path)


WRITTEN_FOR_CORE = frozenset({"trainer.metrics", "trainer.student_t", "trainer.verdict"})
WRITTEN_FOR_TASKS = WRITTEN_FOR_CORE | {
    "trainer.base_weights.fetch",
    "trainer.base_weights.presets",
    "trainer.base_weights.sd_checkpoint",
    "trainer.data.held_out",
    "trainer.data.look_rules",
    "trainer.data.perceptual_hash",
    "trainer.data.plain_look",
    "trainer.data.records",
    "trainer.data.tokenizer",
    "trainer.models.flops",
    "trainer.models.shapes",
    "trainer.recipe",
    "trainer.server_client",
    "trainer.server_folder",
    "trainer.ticket_folder",
}
# What a room may import of the project besides itself: whole rooms, or single modules.
ALLOWED: dict[str, frozenset[str]] = {
    "conceptry": WRITTEN_FOR_CORE,
    "tasks": frozenset({"conceptry"}) | WRITTEN_FOR_TASKS,
    "flows": frozenset({"conceptry", "tasks"}) | WRITTEN_FOR_CORE,
    "local": frozenset({"conceptry", "tasks", "flows"}),
    "cli": frozenset({"conceptry", "tasks", "flows", "local"}),
    "trainer": frozenset(),
    "emulators": frozenset(),
    "space_template": modules(SPACE_MODULES),
    "handler_template": modules(SERVING_MODULES),
    "benchmarks": frozenset(ROOMS) - {"tests"},
}
# Which rooms' modules a room may start as processes, by the name that follows `-m`.
STARTED: dict[str, frozenset[str]] = {
    "tasks": frozenset({"trainer"}),
    "local": frozenset({"cli", "emulators"}),
    "cli": frozenset({"trainer"}),
}
EXCEPTIONS = {
    # The user of the demo photographs the world that the tiny model knows.
    "local/demo/user.py": frozenset({"trainer.tiny.world"}),
    # An earlier name, which scripts call.
    "flows/serve.py": frozenset({"local.serve_flows"}),
}
PURE = frozenset({"pydantic", "pydantic_core", "pydantic_settings", "yaml"})
NOT_PURE = frozenset({"asyncio", "http", "shutil", "socket", "subprocess", "tempfile", "threading", "urllib"})
HEAVY = frozenset({"keras", "keras_cv", "tensorflow"})


@dataclass(frozen=True)
class Import:
    """One imported name, absolute: `from a.b import c` counts as a.b.c, because c may be a module.

    With `started` the module is not imported but run as a process: its name stands in a string.
    """

    name: str
    line: int
    at_import_time: bool
    started: bool = False


def imports(path: Path, root: Path) -> Iterator[Import]:
    package = path.relative_to(root).parent.parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = {id(node) for block in ast.walk(tree) if runs_later(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            start = [*above, node.module] if node.module else [*above]
            names = [".".join([*start, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)]
        yield from (Import(name, node.lineno, id(node) not in later) for name in names)  # type: ignore[attr-defined]
    yield from (Import(name, line, False, started=True) for name, line in starts(tree))


def starts(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Find modules that are run as processes: after "-m", given to `python_module`, or named by any string."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.List, ast.Tuple)):
            for flag, module in pairwise(node.elts):
                if _text(flag) == "-m" and _text(module) in ROOMS:
                    yield str(_text(module)), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("python_module") and node.args:
            if _text(node.args[0]) in ROOMS:
                yield str(_text(node.args[0])), node.lineno
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", _text(node) or ""):
            room, *rest = str(node.value).split(".")
            place = REPO.joinpath(room, *rest)
            if room in ROOMS and (place.is_dir() or place.with_suffix(".py").is_file()):
                yield str(node.value), node.lineno


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def covers(allowed: frozenset[str], name: str) -> bool:
    """Whether the name is one of these rooms or modules, or something inside of them."""
    return any(name == entry or name.startswith(f"{entry}.") for entry in allowed)


def violations(root: Path) -> list[str]:
    found = []
    for room, allowed in ALLOWED.items():
        for path in sorted((root / room).rglob("*.py")):
            module = path.relative_to(root)
            for imported in imports(path, root):
                reason = wrong(room, allowed, module, imported)
                if reason:
                    verb = "starts" if imported.started else "imports"
                    found.append(f"{module.as_posix()}:{imported.line}: {verb} {imported.name}: {reason}")
    return found


def wrong(room: str, allowed: frozenset[str], module: Path, imported: Import) -> str | None:
    """Say why a module must not import this; None when it may."""
    parts = imported.name.split(".")
    top, same_room = parts[0], parts[0] == room
    if imported.started:
        startable = STARTED.get(room, frozenset()) | allowed | {room}
        return None if covers(startable, imported.name) else f"{room} must not start {top}"
    allowed |= EXCEPTIONS.get(module.as_posix(), frozenset())
    package_alone = imported.name in {entry.split(".")[0] for entry in allowed}
    if top in ROOMS and not same_room and not package_alone and not covers(allowed, imported.name):
        return f"{room} must not know {top}"
    if room == "tasks" and same_room and parts[1:] and other_package(module, parts[1]):
        return "a task imports no other task; they meet in a flow"
    name = ".".join(module.with_suffix("").parts)
    if (room == "conceptry" or name in WRITTEN_FOR_CORE) and top not in ROOMS:
        pure = top in PURE | (sys.stdlib_module_names - NOT_PURE) or imported.name.startswith("urllib.parse.")
        return None if pure else "the core is pure"
    if name in WRITTEN_FOR_CORE and not covers(WRITTEN_FOR_CORE, imported.name):
        return "the core reads this module without the rest of the trainer"
    if name in WRITTEN_FOR_TASKS and imported.at_import_time and top in HEAVY:
        return "tasks read this module without TensorFlow"
    return None


def other_package(module: Path, name: str) -> bool:
    """Whether a name in tasks is another outside system's package; modules at the top of tasks serve all of them."""
    own = module.parts[1] if len(module.parts) > 2 else None
    return name in TASK_PACKAGES and name != own


def test_the_arrows(repo_root: Path) -> None:
    assert violations(repo_root) == []


def test_every_room_is_checked(repo_root: Path) -> None:
    packages = {path.parent.name for path in repo_root.glob("*/__init__.py")}
    assert packages <= set(ROOMS)
    assert all(any((repo_root / room).rglob("*.py")) for room in ALLOWED)


def test_a_file_name_means_one_thing(repo_root: Path) -> None:
    """Rooms outside these have their names to themselves: a command's file is named after the command, a benchmark's
    after what it measures, the templates are programs of their own in another repo, and the Prefect tasks of every
    package are in its `tasks.py`.
    """
    exempt = {"benchmarks", "cli", "space_template", "handler_template", "tests"}
    rooms = (repo_root / room for room in set(ROOMS) - exempt)
    names = Counter(path.name for room in rooms for path in room.rglob("*.py"))
    shared = {"__init__.py", "__main__.py", "tasks.py"}
    assert sorted(name for name, count in names.items() if count > 1 and name not in shared) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("conceptry/plan.py", "import tasks.git", "imports tasks.git: conceptry must not know tasks"),
        ("conceptry/plan.py", "def f():\n    from flows import watch", ":2: imports flows.watch"),
        ("conceptry/plan.py", "import prefect", "imports prefect: the core is pure"),
        ("conceptry/plan.py", "import subprocess", "imports subprocess: the core is pure"),
        ("conceptry/plan.py", "from conceptry import concept\nimport yaml, json, pydantic", None),
        ("conceptry/gate.py", "from trainer.metrics import TrainingMetrics", None),
        ("conceptry/gate.py", "from trainer.base_weights.presets import PRESETS", "conceptry must not know trainer"),
        ("trainer/metrics.py", "def f():\n    import numpy", "imports numpy: the core is pure"),
        ("trainer/metrics.py", "import trainer.data.records", "without the rest of the trainer"),
        ("trainer/verdict.py", "from trainer.metrics import LossRows", None),
        ("trainer/metrics.py", "import json\nfrom pydantic import BaseModel", None),
        ("tasks/git.py", "from tasks.dvc import list_images", "a task imports no other task"),
        ("tasks/git.py", "from tasks import dvc", "a task imports no other task"),
        ("tasks/git.py", "from . import dvc", "imports tasks.dvc: a task imports no other task"),
        ("tasks/hub/card.py", "from .. import dvc", "imports tasks.dvc: a task imports no other task"),
        ("tasks/hub/card.py", "from . import publish\nfrom tasks.hub.publish import publish", None),
        ("tasks/git.py", "from flows.watch import watch", "tasks must not know flows"),
        ("tasks/training.py", "from trainer.models.unet import DiffusionModel", "tasks must not know trainer"),
        (
            "tasks/training.py",
            "import trainer\nfrom trainer.base_weights.presets import PRESETS\nfrom trainer import recipe",
            None,
        ),
        (
            "flows/watch.py",
            "import importlib\nimportlib.import_module('emulators.vertex.x')",
            "must not know emulators",
        ),
        ("flows/watch.py", "from tasks.git import mirror\nimport conceptry", None),
        ("trainer/train.py", "import conceptry.errors", "trainer must not know conceptry"),
        ("trainer/data/records.py", "import tensorflow as tf", "tasks read this module without TensorFlow"),
        ("trainer/data/records.py", "def read():\n    import tensorflow as tf", None),
        ("trainer/data/records.py", "if TYPE_CHECKING:\n    import tensorflow as tf", None),
        ("space_template/app.py", "from trainer.sampling.sampler import Pipeline", None),
        ("space_template/app.py", "from trainer.metrics import TrainingMetrics", None),
        ("handler_template/handler.py", "from trainer.metrics import TrainingMetrics", "must not know trainer"),
        ("space_template/app.py", "from trainer.train import train", "space_template must not know trainer"),
        ("handler_template/handler.py", "import conceptry", "handler_template must not know conceptry"),
        ("emulators/hub/app.py", "from trainer.base_weights import presets", "emulators must not know trainer"),
        ("benchmarks/tiny.py", "from trainer import train\nfrom tasks.git import head", None),
        ("benchmarks/tiny.py", "import tests.conftest", "benchmarks must not know tests"),
        ("cli/hub.py", "command = [python, '-m', 'emulators.hub', '--root', root]", "cli must not start emulators"),
        (
            "flows/up.py",
            "SERVER = 'emulators.hub.server'",
            "flows must not start emulators",
        ),
        ("flows/up.py", "python_module('trainer', '--help')", "starts trainer: flows must not start trainer"),
        ("local/up.py", "python_module('emulators.hub')", None),
        ("tasks/training/run.py", "COMMAND = ('python', '-m', 'trainer')", None),
    ],
)
def test_the_checker_sees(tmp_path: Path, module: str, source: str, found: str | None) -> None:
    path = tmp_path / module
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    result = violations(tmp_path)
    assert (len(result) == 1 and found in result[0]) if found else result == []
