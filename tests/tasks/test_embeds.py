"""Learned vectors of others: every form they come in, and files that mean no good."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from conceptry.errors import ConceptryError
from tasks.embeds import read_embeds


class _Named:
    """Something that a pickle refers to by its name alone."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes what torch.save writes, without torch: names of its classes, and storages by reference."""

    def persistent_id(self, value: Any) -> Any:
        return value[1] if isinstance(value, tuple) and value and value[0] == "persistent" else None

    def save_named(self, value: _Named) -> None:
        self.write(b"c" + f"{value.module}\n{value.name}\n".encode())

    dispatch = {**pickle._Pickler.dispatch, _Named: save_named}  # type: ignore[attr-defined] # noqa: RUF012


class _Call:
    def __init__(self, function: _Named, arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments


def _save_call(self: Any, value: _Call) -> None:
    self.save(value.function)
    self.save(value.arguments)
    self.write(pickle.REDUCE)


_Pickler.dispatch[_Call] = _save_call


def torch_file(path: Path, data: Any, storages: dict[str, bytes]) -> Path:
    stream = io.BytesIO()
    _Pickler(stream, 2).dump(data)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def tensor(kind: str, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = 8) -> _Call:
    storage = ("persistent", ("storage", _Named("torch", kind), "0", "cpu", count))
    arguments = (storage, offset, size, stride, False, OrderedDict())
    return _Call(_Named("torch._utils", "_rebuild_tensor_v2"), arguments)


FLOATS = np.arange(8, dtype="float32")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("FloatStorage", FLOATS.tobytes()),
        ("HalfStorage", FLOATS.astype("float16").tobytes()),
        ("BFloat16Storage", struct.pack("<8H", *(int(v) for v in FLOATS.view("uint32") >> 16))),
    ],
)
def test_a_bin_of_diffusers(tmp_path: Path, kind: str, content: bytes) -> None:
    file = torch_file(tmp_path / "learned_embeds.bin", {"<cat-toy>": tensor(kind, (8,), (1,))}, {"0": content})
    embeds = read_embeds(file)
    assert embeds.token == "<cat-toy>"
    np.testing.assert_array_equal(embeds.rows, FLOATS[None])


def test_a_pt_of_the_web_uis(tmp_path: Path) -> None:
    data = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": tensor("FloatStorage", (2, 4), (4, 1))},
        "name": "x",
    }
    embeds = read_embeds(torch_file(tmp_path / "x.pt", data, {"0": FLOATS.tobytes()}))
    assert embeds.token is None
    np.testing.assert_array_equal(embeds.rows, FLOATS.reshape(2, 4))


def test_safetensors_and_a_folder_of_the_concepts_library(tmp_path: Path) -> None:
    save_file({"<x>": FLOATS[None]}, tmp_path / "learned_embeds.safetensors")
    (tmp_path / "token_identifier.txt").write_text("<my-style>\n")
    (tmp_path / "type_of_concept.txt").write_text("style")
    (tmp_path / "concept_images").mkdir()
    (tmp_path / "concept_images" / "0.jpeg").write_bytes(b"x")
    embeds = read_embeds(tmp_path)
    assert (embeds.token, embeds.learnable_property) == ("<my-style>", "style")
    assert [path.name for path in embeds.images] == ["0.jpeg"]


def test_a_pickle_that_wants_to_run_something_does_not(tmp_path: Path) -> None:
    file = torch_file(tmp_path / "learned_embeds.bin", {"<x>": _Call(_Named("os", "system"), ("touch pwned",))}, {})
    with pytest.raises(ConceptryError, match=r"refers to os\.system"):
        read_embeds(file)


@pytest.mark.parametrize(
    ("size", "stride", "offset"), [((9,), (1,), 0), ((4,), (3,), 0), ((8,), (1,), 1), ((2,), (-1,), 1)]
)
def test_a_tensor_beyond_its_data_is_refused(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    data = {"<x>": tensor("FloatStorage", size, stride, offset)}
    with pytest.raises(ConceptryError, match="reaches beyond its data"):
        read_embeds(torch_file(tmp_path / "x.bin", data, {"0": FLOATS.tobytes()}))


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"PK\x03\x04", b"not a zip at all"])
def test_what_is_none_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "learned_embeds.bin").write_bytes(content)
    with pytest.raises(ConceptryError, match="save it as safetensors"):
        read_embeds(tmp_path / "learned_embeds.bin")
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ConceptryError, match="save it as safetensors"):
        read_embeds(tmp_path / "x.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConceptryError, match="pass the file itself"):
        read_embeds(tmp_path / "empty")
