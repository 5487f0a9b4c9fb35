"""`python -m trainer` as a person or a task runs it, and the files that it leaves."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from safetensors.numpy import load_file

from conceptry.gate import judge
from conceptry.reasons import GateReason
from conceptry.version import Thresholds
from tests.support.trainer_runs import RecordsMaker, Trained, run_trainer
from trainer import export
from trainer.base_weights.base_model import BaseModel
from trainer.data import records
from trainer.metrics import METRICS_FILE, METRICS_VERSION, ImageCounts, read_metrics
from trainer.models.shapes import TINY
from trainer.models.text_encoder import TextEncoder
from trainer.recipe import RECIPE
from trainer.sampling.sampler import Pipeline

NEW_TOKENS = ["<teal-crescent>", "<teal-crescent>_1"]


def learned_rows(trained: Trained) -> np.ndarray:
    return load_file(trained.output / "learned_embeds.safetensors")["<teal-crescent>"]


def read(trained: Trained, name: str) -> np.ndarray:
    with Image.open(trained.output / name) as picture:
        return np.asarray(picture)


def test_the_learned_vectors_are_float32_keyed_by_the_token(trained: Trained) -> None:
    rows = learned_rows(trained)
    assert rows.dtype == np.float32
    assert rows.shape == (2, TINY.text_encoder.width)
    assert not np.array_equal(rows[0], rows[1])


def test_the_metrics_say_what_happened(trained: Trained) -> None:
    metrics = trained.metrics
    assert metrics.version == METRICS_VERSION
    assert "version" in metrics.model_fields_set, "the file says its version"
    assert (metrics.recipe, metrics.base_model, metrics.steps) == (RECIPE, "tiny", 100)
    assert metrics.images == ImageCounts(train=3, held_out=1)
    loss = metrics.loss
    assert loss.trained is not None
    assert loss.initializer is not None
    assert loss.improvement == pytest.approx(1 - loss.trained / loss.initializer, abs=1e-3)
    assert set(metrics.seconds) == {"start", "train", "evaluate", "samples", "clip", "export", "total"}


def test_progress_is_json_lines_on_stdout_and_in_the_file(trained: Trained) -> None:
    lines = (trained.output / "progress.jsonl").read_text().splitlines()
    assert lines == trained.stdout.splitlines()
    steps = [line for line in map(json.loads, lines) if "step" in line]
    assert (steps[-1]["step"], steps[-1]["of"]) == (100, 100)


def test_a_grid_is_drawn_at_each_checkpoint_but_the_last(trained: Trained) -> None:
    # The samples show the vectors of the last one, with the same seeds.
    assert [path.name for path in (trained.output / "checkpoints").glob("*.png")] == ["step-000050.png"]
    drawn, samples = read(trained, "checkpoints/step-000050.png"), read(trained, "samples/grid.png")
    assert drawn.shape == samples.shape
    assert not np.array_equal(drawn, samples)


def test_tensorboard_has_curves_and_grids(trained: Trained) -> None:
    (path,) = (trained.output / "tensorboard").iterdir()
    found: dict[tuple[str, str], list[int]] = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            found.setdefault((value.metadata.plugin_data.plugin_name, value.tag), []).append(event.step)
    assert found["scalars", "loss"] == [20, 40, 60, 80, 100]
    assert found["scalars", "held-out loss"] == found["scalars", "CLIP image score"] == [100]
    assert found["scalars", "CLIP text score/initializer"] == [100]
    assert found["images", "samples"] == [50, 100]
    assert ("scalars", "learning_rate") in found


def test_samples_are_pictures(trained: Trained) -> None:
    names = [sample.file for sample in trained.metrics.samples]
    assert names == ["samples/0.png", "samples/1.png", "samples/2.png"]
    assert {read(trained, name).shape for name in names} == {(64, 64, 3)}
    assert not np.array_equal(read(trained, "samples/initializer.png"), read(trained, "samples/grid.png"))


def test_only_the_new_rows_differ_from_the_base_model(trained: Trained) -> None:
    stored = tf.train.load_checkpoint(str(trained.output / "text_encoder" / "variables" / "variables"))
    names = stored.get_variable_to_shape_map()
    tensors = [stored.get_tensor(name) for name in names if name.endswith("VARIABLE_VALUE")]
    saved = {(tensor.shape, tensor.tobytes()) for tensor in tensors if isinstance(tensor, np.ndarray)}
    base = BaseModel("tiny")
    original = base.text_encoder(base.tokenizer().vocabulary)
    wanted = [np.asarray(weight) for weight in original.weights] + [learned_rows(trained)]
    assert [weight.shape for weight in wanted if (weight.shape, weight.tobytes()) not in saved] == []


def test_the_saved_encoder_gives_the_trainers_context(trained: Trained) -> None:
    base = BaseModel("tiny")
    tokenizer = base.tokenizer("<teal-crescent>", 2)
    tokens = tf.constant(tokenizer.rows(["a photo of <teal-crescent>", "a red circle", ""]))
    positions = tf.repeat(tf.range(tokenizer.prompt_length)[None, :], 3, axis=0)
    ours = base.text_encoder(tokenizer.vocabulary).encode_with_placeholders(tokens, tf.constant(learned_rows(trained)))
    signature = tf.saved_model.load(str(trained.output / "text_encoder")).signatures["serving_default"]
    served = signature(tokens=tokens, positions=positions)["context"]
    np.testing.assert_allclose(served.numpy(), ours.numpy(), rtol=0, atol=1e-6)


def test_a_published_encoder_draws_the_trainers_samples_again(trained: Trained) -> None:
    pipeline = Pipeline.load("tiny", text_encoder=str(trained.output / "text_encoder"), placeholder_tokens=NEW_TOKENS)
    sample = trained.metrics.samples[1]
    drawn = pipeline.draw(sample.prompt, seed=sample.seed)[0]
    stored = read(trained, sample.file)
    # The batch is another size, so the last bit of a sum may differ.
    assert np.abs(drawn.astype(int) - stored.astype(int)).max() <= 2


def test_versions_differ_only_in_small_files(trained: Trained, tmp_path: Path) -> None:
    embeds = tmp_path / "learned_embeds.safetensors"
    export.learned_embeds(embeds, "<teal-crescent>", learned_rows(trained) + 1.0)
    export.finish(export.start("tiny", None, embeds, tmp_path / "text_encoder"))
    old, new = files(trained.output / "text_encoder"), files(tmp_path / "text_encoder")
    assert old.keys() == new.keys()
    assert 0 < sum(len(old[name]) for name in old if old[name] != new[name]) < 10_000
    assert old["saved_model.pb"] == new["saved_model.pb"]


def test_every_process_writes_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    """The trainer wrote the one, a process that has traced nothing before the second, this process the last."""
    embeds, base = trained.output / "learned_embeds.safetensors", BaseModel("tiny")
    export.finish(export.start("tiny", None, embeds, tmp_path / "new"))
    assert export.write_here(base, embeds, tmp_path / "here") is None
    assert files(tmp_path / "new") == files(tmp_path / "here") == files(trained.output / "text_encoder")


def test_what_this_process_cannot_write_another_one_writes(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embeds, damaged = trained.output / "learned_embeds.safetensors", object.__new__(TextEncoder)
    exporting = export.write_here(BaseModel("tiny"), embeds, tmp_path / "text_encoder", damaged)
    assert exporting is not None
    export.finish(exporting)
    assert "another process writes the SavedModel, because of AttributeError" in capsys.readouterr().err
    assert files(tmp_path / "text_encoder") == files(trained.output / "text_encoder")


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_model": "sd-9"}, "base_model: 'sd-9' is not one of: tiny, sd-v1-4"),
        ({"placeholder_token": "<My-Cat>"}, "must be lower-case"),
        ({"training": {"max_steps": 0}}, "max_steps: 0 must be a number of at least 1"),
        ({"base_model": "sd-v1-4"}, "kcv_encoder.h5 is not"),
    ],
)
def test_a_bad_configuration_is_one_clear_line(
    change: dict[str, object], message: str, trained: Trained, make_records: RecordsMaker, tmp_path: Path
) -> None:
    folder = tmp_path
    done = run_trainer(
        make_records(folder / "records", ("red", "heart"), 1), trained.config | change, folder / "output"
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("trainer: ")
    assert message in done.stderr
    assert not (folder / "output" / "metrics.json").exists()


def test_pictures_that_the_base_model_cannot_draw_are_named_and_never_pass(tmp_path: Path) -> None:
    make_photographs(tmp_path / "records")
    config = {"placeholder_token": "<x>", "initializer_token": "circle", "base_model": "tiny", "samples": 1}
    done = run_trainer(tmp_path / "records", config | {"training": {"max_steps": 2}}, tmp_path / "output")
    assert done.returncode == 0, done.stderr
    [event] = [json.loads(line) for line in done.stdout.splitlines() if "undrawable" in line]
    assert event["message"].startswith("the base model tiny cannot draw pictures like these")
    metrics = read_metrics(tmp_path / "output" / METRICS_FILE)
    assert metrics.undrawable == event["message"]
    assert "Choose another base_model: sd-v1-4 draws photographs" in event["message"]
    result = judge(metrics, Thresholds(-10.0, 0.95, None))
    assert result.verdict == "rejected"
    assert GateReason.UNDRAWABLE in [finding.reason for finding in result.findings]


def test_a_check_trains_nothing(make_records: RecordsMaker, trained: Trained, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(trained.config))

    def check(records_folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trainer", "--check", "--records", records_folder, "--config", config]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    assert check(make_records(tmp_path / "shapes", ("red", "heart"), 2)).returncode == 0
    done = check(make_photographs(tmp_path / "photographs"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot draw pictures like these" in done.stderr.splitlines()[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "shapes", "photographs"}


def make_photographs(folder: Path) -> Path:
    """Write records of two pictures of soft colours all over, as photographs have."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(2):
        field = Image.fromarray(rng.integers(0, 256, (6, 6, 3), "uint8")).resize((64, 64), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        field.save(buffer, "PNG")
        rows.append(records.Record(buffer.getvalue(), 64, 64, str(index) * 32, f"{index}.png"))
    folder.mkdir(parents=True)
    records.write(folder / records.SHARD, rows)
    return folder


IMPORTS = """
import sys
from trainer.tensorflow_import import import_tensorflow
import_tensorflow()
from trainer import run
print(*({"keras", "tf_keras", "h5py", "scipy", "googleapiclient", "pandas", "rich"} & sys.modules.keys()))
import h5py
"""


def test_the_trainer_imports_nothing_that_it_does_not_use() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_a_training_that_is_asked_to_end_says_so_with_its_exit_code(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(trained.config | {"training": {"max_steps": 10_000}}))
    command = [sys.executable, "-m", "trainer", "--records", trained.output.parent / "records", "--config", path]
    command += ["--output", tmp_path / "output"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "step" in json.loads(line))
        process.terminate()
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert process.wait() == 75
    assert last["event"] == "interrupted"
    assert (tmp_path / "output" / "checkpoints" / "latest.json").is_file()


COMPILES = """
import sys
from pathlib import Path
from trainer.__main__ import keep_compiled
keep_compiled(Path(sys.argv[1]))
import tensorflow as tf
twice = tf.function(lambda x: tf.sin(x) * 2.0, jit_compile=True)
print(float(twice(tf.constant(0.5))))
"""


def test_what_xla_compiles_is_kept_for_the_next_job(tmp_path: Path) -> None:
    def run() -> tuple[str, list[tuple[str, int]]]:
        done = subprocess.run([sys.executable, "-c", COMPILES, tmp_path], capture_output=True, text=True, check=True)
        kept = [path for path in (tmp_path / tf.__version__).iterdir() if path.is_file()]
        return done.stdout, [(path.name, path.stat().st_mtime_ns) for path in kept]

    first = run()
    assert len(first[1]) == 1
    # Had it not been found there, it would have been compiled and written again.
    assert run() == first
