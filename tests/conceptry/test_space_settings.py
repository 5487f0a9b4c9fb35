"""settings.json: what the Space and the handler are told."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

from conceptry.space_settings import SERVING_MODULES, SPACE_MODULES, placeholder_tokens, serving_settings
from tests.support.plan_worlds import BASES, TINY, spec_of
from trainer.metrics import TrainingMetrics


def test_settings() -> None:
    settings = serving_settings(
        "my-cat",
        spec_of(),
        TINY,
        version_name="v2",
        metrics=TrainingMetrics(steps=300),
        model_repo="ann/my-cat",
        revision="c" * 40,
        gate="passed: it is better",
    )
    assert json.loads(json.dumps(settings)) == settings
    assert settings == {
        "name": "my-cat",
        "title": "My cat",
        "emoji": "🎨",
        "placeholder_token": "<my-cat>",
        "placeholder_tokens": ["<my-cat>"],
        "learnable_property": "object",
        "base_model": "tiny",
        "resolution": 64,
        "model_repo": "ann/my-cat",
        "version": "v2",
        "revision": "c" * 40,
        "gate": "passed: it is better",
        "metrics": {"steps": 300},
        "examples": settings["examples"],
        "endpoint": settings["endpoint"],
    }
    assert settings["examples"][0] == "a photo of <my-cat>"


def test_a_style_with_several_vectors_and_a_title() -> None:
    spec = spec_of(learnable_property="style", num_vectors=3, space={"title": "Ann's way"}, resolution=256)
    settings = serving_settings(
        "my-cat",
        spec,
        BASES["sd-v1-4"],
        version_name="v1",
        metrics=TrainingMetrics(),
        model_repo="ann/my-cat",
        revision=None,
    )
    assert settings["placeholder_tokens"] == ["<my-cat>", "<my-cat>_1", "<my-cat>_2"] == [*placeholder_tokens(spec)]
    assert all("style of <my-cat>" in example for example in settings["examples"])
    assert (settings["title"], settings["resolution"], settings["revision"]) == ("Ann's way", 256, None)


def test_the_listed_modules_are_all_that_sampling_imports(repo_root: Path) -> None:
    listed = set(SPACE_MODULES)
    assert [path for path in listed if not (repo_root / path).is_file()] == []
    for path in sorted(path for path in listed if path.endswith(".py")):
        for node in ast.walk(ast.parse((repo_root / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "trainer":
                place = node.module.replace(".", "/")
                package = (repo_root / place).is_dir()
                names = [f"{place}/{alias.name}.py" for alias in node.names] if package else [f"{place}.py"]
                assert listed >= {*names, *(f"{parent}/__init__.py" for parent in Path(names[0]).parents[:-1])}, path


def test_the_presets_can_be_read_from_a_copy(repo_root: Path, tmp_path: Path) -> None:
    for path in SERVING_MODULES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repo_root / path, tmp_path / path)
    program = "import trainer.base_weights.presets as p; print(p.__file__, len(p.digest(p.PRESETS['tiny'])))"
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [str(tmp_path / "trainer" / "base_weights" / "presets.py"), "64"]
