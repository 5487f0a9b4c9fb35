"""Pickled checkpoints become .safetensors files; no code of theirs runs."""

import io
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from conceptry.errors import ConceptryError
from tasks.pickled_checkpoint import convert, convert_all
from tests.support.sd_checkpoints import tensors
from trainer.base_weights.safetensors_file import SafetensorsFile
from trainer.base_weights.sd_checkpoint import CheckpointError, open_checkpoint


class Saved:
    """Writes what torch.save writes: a pickle with references to storages, in a zip archive."""

    def __init__(self, path: Path) -> None:
        self.path, self.storages = path, list[np.ndarray]()

    def save(self, document: Any) -> Path:
        stream = io.BytesIO()
        pickler = pickle.Pickler(stream, protocol=2)
        pickler.persistent_id = self._reference  # type: ignore[method-assign]
        pickler.dispatch_table = {np.ndarray: self._rebuild}
        pickler.dump(document)
        with zipfile.ZipFile(self.path, "w") as archive:
            archive.writestr("archive/data.pkl", stream.getvalue())
            for key, array in enumerate(self.storages):
                archive.writestr(f"archive/data/{key}", array.tobytes())
        return self.path

    def _rebuild(self, array: np.ndarray) -> tuple[Any, tuple[Any, ...]]:
        # As of a transposed parameter: the elements lie in the other order.
        flat = np.ascontiguousarray(array.T)
        strides = tuple(size // array.itemsize for size in flat.T.strides)
        return torch_name("_rebuild_tensor_v2"), (Storage(flat), 0, array.shape, strides, False, OrderedDict())

    def _reference(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        self.storages.append(value.array)
        kind = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}[value.array.dtype.name]
        return ("storage", torch_name(kind, "torch"), str(len(self.storages) - 1), "cpu", value.array.size)


class Storage:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array


def torch_name(name: str, module: str = "torch._utils") -> Any:
    """A global that pickles under PyTorch's name; there is no PyTorch here."""
    made = type(name, (), {"__module__": module})
    for known in ("torch", "torch._utils"):
        sys.modules.setdefault(known, ModuleType(known))
    setattr(sys.modules[module], name, made)
    return made


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/conceptry-was-here",)


@pytest.fixture(autouse=True)
def _no_torch() -> Iterator[None]:
    yield
    for name in ("torch", "torch._utils"):
        sys.modules.pop(name, None)


def test_a_checkpoint_is_converted_whole_and_is_the_same(tmp_path: Path) -> None:
    single = tensors("sd1", "original")["single"]
    more = {"model_ema.decay": np.ones((2, 2), "float32"), "cond_stage_model.ids": np.ones((1, 3), "int64")}
    document = {"state_dict": OrderedDict(single | more), "callbacks": {"x": Evil()}, "global_step": 7}
    path = Saved(tmp_path / "model.ckpt").save(document)
    with pytest.raises(CheckpointError, match="`conceptry base convert` writes it"):
        open_checkpoint(path)
    [(target, count)] = convert_all(path)
    assert (target, count) == (tmp_path / "model.safetensors", len(single))
    found = SafetensorsFile(target)
    assert all(np.array_equal(found.tensor(name), array) for name, array in single.items())
    assert open_checkpoint(target).kind == "sd1"
    assert not Path("/tmp/conceptry-was-here").exists()
    with pytest.raises(ConceptryError, match="exists"):
        list(convert_all(path))


def test_a_folder_of_diffusers_is_converted_file_by_file(tmp_path: Path) -> None:
    for folder, name in (("unet", "diffusion_pytorch_model.bin"), ("text_encoder", "pytorch_model.bin")):
        (tmp_path / folder).mkdir()
        Saved(tmp_path / folder / name).save({"weight": np.ones((2, 3), "float16")})
    made = [path.relative_to(tmp_path).as_posix() for path, _ in convert_all(tmp_path)]
    assert made == ["text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors"]
    assert SafetensorsFile(tmp_path / made[0]).tensor("weight").dtype == np.float16


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\x80\x02N.", "no archive of PyTorch 1.6 or later"), (b"PK\x03\x04 no zip", "no archive of PyTorch")],
)
def test_what_is_no_archive_is_said(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ConceptryError, match=says):
        convert(tmp_path / "x.ckpt", tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_a_tensor_beyond_its_data_is_refused(tmp_path: Path) -> None:
    path = Saved(tmp_path / "x.ckpt").save({"weight": np.ones((2, 3), "float32")})
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("archive/data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", b"\0" * 8)
    with pytest.raises(ConceptryError, match="is cut off"):
        convert(path, tmp_path / "x.safetensors")
    assert {one.name for one in tmp_path.iterdir()} == {"x.ckpt"}
