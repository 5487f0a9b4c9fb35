"""Training on this machine: in a training server that serves one training after the other, or `python -m trainer` as a
child process.

The trainer gets an environment without the project's tokens, and a folder `output.partial` with its checkpoints, which
a later attempt reuses. A cancelled run stops the training. If the run is killed, its server sees that its connection is
closed; a child process is ended by the kernel (PR_SET_PDEATHSIG, Linux). The trainer holds the run's lock, so that no
second trainer starts while the training goes on.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from conceptry.errors import TrainingError, TransientError
from tasks.disk_full import DiskFullError, says_disk_full
from tasks.processes import child_environment, leashed, python_module, run_to_end
from tasks.training.served_trainer import ServedTrainer, TrainingServers, served_trainer
from tasks.training.training_request import Progress, TrainingRequest, read_results, relay
from trainer.base_weights import presets
from trainer.metrics import METRICS_FILE, TrainingMetrics

BAD_INPUT, WENT_WRONG, INTERRUPTED = 2, 3, 75
# Seconds between SIGTERM and SIGKILL: enough to write a checkpoint of a few kilobytes.
GRACE = 20.0
LAST_LINES = 12
# Seconds for the base model to look at a concept's images.
CHECK_TIMEOUT = 1800.0
REFUSED = "trainer: "
"""How the trainer's line begins that says why it refused its input."""


def train_local(
    request: TrainingRequest,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_event: Callable[[Mapping[str, Any]], None] = lambda _: None,
    keep_open: Sequence[int] = (),
    servers: TrainingServers | None = None,
) -> TrainingMetrics:
    """Train, or resume an interrupted training, and return metrics.json.

    Args:
        request: The training.
        on_progress: Called for each step that the trainer reports.
        on_event: Called for the trainer's other lines, e.g. `{"event": "compiled"}`.
        keep_open: File descriptors (locks) that the trainer inherits, and so holds until the training has ended.
        servers: Training servers of this machine; None for a process that ends with this training.

    Raises:
        TrainingError: the configuration or the records are invalid, or the training failed; a retry would fail, too.
        SettingsError: the gate needs CLIP scores, and there is no CLIP model.
        TransientError: the trainer was stopped or its process ended; its checkpoint is kept, and the next call
            resumes from it.
    """
    metrics = request.output / METRICS_FILE
    if metrics.is_file():
        return read_results(request.output, request.concept)
    if request.needs_clip and presets.clip_folder(request.base_dir) is None:
        raise request.no_clip("CONCEPTRY_BASE_DIR")
    partial = request.output.with_name(request.output.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    config = request.output.with_name("config.json")
    config.write_text(json.dumps(dict(request.config), indent=2) + "\n", encoding="utf-8")
    log = request.output.with_name("trainer.log")
    with log.open("ab") as stderr, _begin(_arguments(request, config, partial), stderr, keep_open, servers) as trainer:
        try:
            for line in trainer.lines:
                relay(line, on_progress, on_event)
            code = trainer.wait()
        finally:
            trainer.stop(GRACE)
    if code != 0 or not (partial / METRICS_FILE).is_file():
        raise failure(request.concept, code, _last_lines(log))
    partial.rename(request.output)
    return read_results(request.output, request.concept)


def needs_drawing_check(preset: presets.Preset) -> bool:
    """Whether a base model draws some kinds of images only, which the trainer finds out."""
    return preset.max_loss is not None


def check_images(concept: str, records: Path, config: Mapping[str, Any], base_dir: Path | None) -> None:
    """Check, without training, that the base model can draw such images; at once for one that draws all kinds.

    Args:
        concept: Name of the concept, for messages.
        records: Folder of their TFRecords.
        config: Configuration of the training.
        base_dir: Folder of base model weights.

    Raises:
        TrainingError: it cannot, or the configuration is invalid; the message says what to change.
        TransientError: the check was interrupted, or did not end.
    """
    if not needs_drawing_check(presets.of(config["base_model"], config.get("base"))):
        return
    file = records.with_name("check.json")
    file.write_text(json.dumps(dict(config)), encoding="utf-8")
    arguments = ["--check", "--records", str(records), "--config", str(file)]
    arguments += ["--base", str(base_dir)] if base_dir else []
    try:
        done = run_to_end(python_module("trainer", *arguments), timeout=CHECK_TIMEOUT, environment=_environment())
    except TimeoutError as error:
        raise TransientError(f"the check of its images took over {CHECK_TIMEOUT:.0f} s", concept=concept) from error
    if done.returncode != 0:
        raise failure(concept, done.returncode, done.stderr.decode(errors="replace").splitlines()[-LAST_LINES:])


class _ChildTrainer:
    """A training in a child process of its own."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        self._child, self.lines = child, child.stdout

    def wait(self) -> int:
        """Return the exit code."""
        return self._child.wait()

    def stop(self, grace: float) -> None:
        """Stop the child's process group with SIGTERM, and after `grace` seconds with SIGKILL."""
        for how, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            if self._child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._child.pid, how)
                with suppress(subprocess.TimeoutExpired):
                    self._child.wait(patience)
        self.lines.close()


def failure(
    concept: str, code: int | None, last_lines: Sequence[str], link: str | None = None
) -> TrainingError | TransientError:
    """Return the error for a trainer that exited with `code`; it is transient if a retry may succeed.

    The code of a training server is not known (None). `link` is the address of its log, if that is elsewhere.
    """
    ended: dict[int | None, str] = {None: "ended unexpectedly", INTERRUPTED: "was interrupted"} | {
        -number: f"was ended by {number.name}" for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
    }
    if code is None or code in ended:
        how, hint = ended[code], ", possibly because memory ran out" if code in (None, -signal.SIGKILL) else ""
        return TransientError(
            f"the trainer {how}{hint}", concept=concept, next_step="its checkpoint is kept; a retry resumes from it"
        )
    if link is None and any(says_disk_full(line) for line in last_lines):
        return DiskFullError("the trainer's output")
    refusal = next((line for line in reversed(last_lines) if line.startswith(REFUSED)), None)
    if code == BAD_INPUT and refusal:
        next_step, lines = "nothing was trained; change it and try again", [link] if link else []
        return TrainingError(refusal.removeprefix(REFUSED), concept=concept, next_step=next_step, last_lines=lines)
    what, next_step = {
        BAD_INPUT: ("the trainer refused its configuration or its records", "correct what the last line names"),
        WENT_WRONG: ("the training failed", "try a smaller training.learning_rate"),
        0: ("the trainer ended without writing metrics.json", "check the last lines of its output"),
    }.get(code, ("the trainer failed", "check the last lines of its output"))
    return TrainingError(what, concept=concept, next_step=next_step, exit_code=code, last_lines=last_lines)


def _arguments(request: TrainingRequest, config: Path, output: Path) -> list[str]:
    arguments = {
        "--records": request.records,
        "--config": config,
        "--output": output,
        "--base": request.base_dir,
        **{f"--{option}": path for option, path in request.vectors.items()},
    }
    return [text for name, path in arguments.items() if path is not None for text in (name, str(path.absolute()))]


def _begin(
    arguments: Sequence[str], stderr: IO[bytes], keep_open: Sequence[int], servers: TrainingServers | None
) -> AbstractContextManager[_ChildTrainer | ServedTrainer]:
    """Begin a training; the caller stops it within the block."""
    if servers is not None:
        return served_trainer(servers, arguments, stderr, keep_open, _environment())
    child = subprocess.Popen(
        leashed(python_module("trainer", *arguments)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        pass_fds=tuple(keep_open),
        env=_environment(),
    )
    return nullcontext(_ChildTrainer(child))


def _environment() -> dict[str, str]:
    """Return the trainer's environment, without tokens of the Hub, of Prefect and of this project."""
    secrets = ("CONCEPTRY_", "PREFECT_", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    return {"TF_CPP_MIN_LOG_LEVEL": "2", **child_environment(without=secrets), "PYTHONUNBUFFERED": "1"}


def _last_lines(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        lines = file.read().decode(errors="replace").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-LAST_LINES:]
