"""Learned vectors of others: every form they come in, and files that mean no good."""

import io
import json
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


class _Built:
    """An object that is made from its class alone, and gets its state then."""

    def __init__(self, cls: _Named, state: Any) -> None:
        self.cls, self.state = cls, state


def _save_built(self: Any, value: _Built) -> None:
    self.save(value.cls)
    self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
    self.save(value.state)
    self.write(pickle.BUILD)


_Pickler.dispatch[_Built] = _save_built


def dumped(data: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, 2).dump(data)
    return stream.getvalue()


def torch_file(path: Path, data: Any, storages: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", dumped(data))
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
    assert embeds.token == "x"
    np.testing.assert_array_equal(embeds.rows, FLOATS.reshape(2, 4))


@pytest.mark.parametrize("state", ["_parameters", "_keys"])
def test_the_original_saves_a_module_and_the_token_as_a_tensor(tmp_path: Path, state: str) -> None:
    learned = _Call(_Named("torch._utils", "_rebuild_parameter"), (tensor("FloatStorage", (1, 8), (8, 1)), True, {}))
    hooks: OrderedDict[str, Any] = OrderedDict()
    # torch.nn.ParameterDict before and since PyTorch 1.12.
    states = {
        "_parameters": {"training": True, "_parameters": OrderedDict({"*": learned}), "_backward_hooks": hooks},
        "_keys": {"training": True, "_parameters": OrderedDict(), "_keys": {"*": None}, "*": learned},
    }
    token = ("persistent", ("storage", _Named("torch", "LongStorage"), "1", "cpu", 1))
    number = _Call(_Named("torch._utils", "_rebuild_tensor_v2"), (token, 0, (), (), False, hooks))
    module = _Built(_Named("torch.nn.modules.container", "ParameterDict"), states[state])
    data = {"string_to_token": {"*": number}, "string_to_param": module}
    content = {"0": FLOATS.tobytes(), "1": struct.pack("<q", 265)}
    embeds = read_embeds(torch_file(tmp_path / "embeddings.pt", data, content))
    assert embeds.token is None
    np.testing.assert_array_equal(embeds.rows, FLOATS[None])


def stream_file(path: Path, data: Any, storages: dict[str, bytes], element: int) -> Path:
    """Write what torch.save wrote before PyTorch 1.6."""
    head = [dumped(0x1950A86A20F9469CFC6C), dumped(1001), dumped({"little_endian": True}), dumped(data)]
    tail = [struct.pack("<q", len(content) // element) + content for content in storages.values()]
    path.write_bytes(b"".join([*head, dumped(list(storages)), *tail]))
    return path


def test_a_file_from_before_pytorch_1_6(tmp_path: Path) -> None:
    def half(key: str, size: tuple[int, ...]) -> _Call:
        storage = ("persistent", ("storage", _Named("torch", "HalfStorage"), key, "cuda:0", 8, None))
        return _Call(_Named("torch._utils", "_rebuild_tensor_v2"), (storage, 0, size, (8, 1), False, OrderedDict()))

    data = {"<x>": half("94", (1, 8)), "<x>_1": half("95", (1, 8))}
    halves = FLOATS.astype("float16")
    embeds = read_embeds(
        stream_file(tmp_path / "x.pt", data, {"95": (halves + 8).tobytes(), "94": halves.tobytes()}, 2)
    )
    np.testing.assert_array_equal(embeds.rows, np.arange(16, dtype="float32").reshape(2, 8))


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "bfloat16"])
def test_safetensors_in_every_number_format_and_with_a_wrong_ending(tmp_path: Path, kind: str) -> None:
    bits = (FLOATS.view("uint32") >> 16).astype("uint16")
    data = bits if kind == "bfloat16" else FLOATS.astype(kind)
    types = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    offsets = [0, data.nbytes]
    header = json.dumps({"emb_params": {"dtype": types[kind], "shape": [2, 4], "data_offsets": offsets}}).encode()
    content = struct.pack("<Q", len(header)) + header + data.tobytes()
    for name in ("x.safetensors", "x.bin", "x.pt"):
        (tmp_path / name).write_bytes(content)
        embeds = read_embeds(tmp_path / name)
        assert embeds.token is None
        np.testing.assert_array_equal(embeds.rows, FLOATS.reshape(2, 4))
    torch_file(tmp_path / "zip.safetensors", {"<x>": tensor("FloatStorage", (8,), (1,))}, {"0": FLOATS.tobytes()})
    assert read_embeds(tmp_path / "zip.safetensors").token == "<x>"


def test_vectors_that_were_saved_one_by_one(tmp_path: Path) -> None:
    save_file({f"<x>_{row}" if row else "<x>": FLOATS[row : row + 1] for row in range(8)}, tmp_path / "x.safetensors")
    embeds = read_embeds(tmp_path / "x.safetensors")
    assert embeds.token == "<x>"
    np.testing.assert_array_equal(embeds.rows, FLOATS[:, None])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["clip_g", "clip_l"], "Stable Diffusion XL"),
        (["lora_unet_down_blocks_0.lora_up.weight"], "a LoRA"),
        (["model.diffusion_model.out.weight", "cond_stage_model.x"], "a checkpoint of Stable Diffusion"),
        (["<x>", "<y>"], r"2 tensors \(<x>, <y>\), not those of one token"),
    ],
)
def test_another_file_is_refused_by_what_it_is(tmp_path: Path, names: list[str], words: str) -> None:
    save_file(dict.fromkeys(names, FLOATS), tmp_path / "x.safetensors")
    with pytest.raises(ConceptryError, match=words):
        read_embeds(tmp_path / "x.safetensors")
    data = {name: tensor("FloatStorage", (8,), (1,)) for name in names}
    with pytest.raises(ConceptryError, match=words):
        read_embeds(torch_file(tmp_path / "x.pt", data, {"0": FLOATS.tobytes()}))


def test_a_large_checkpoint_is_named_by_its_header(tmp_path: Path) -> None:
    tensors = {"model.diffusion_model.out.weight": {"dtype": "F16", "shape": [1 << 26], "data_offsets": [0, 1 << 27]}}
    header = json.dumps(tensors).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + (1 << 27))
    with pytest.raises(ConceptryError, match="a checkpoint of Stable Diffusion"):
        read_embeds(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n", "a picture"),
        (b"\n<!doctype html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "it is empty"),
    ],
)
def test_what_was_downloaded_by_mistake_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "learned_embeds.bin").write_bytes(content)
    with pytest.raises(ConceptryError, match=words):
        read_embeds(tmp_path / "learned_embeds.bin")


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
    with pytest.raises(ConceptryError, match="pass the embedding of one token"):
        read_embeds(tmp_path / "learned_embeds.bin")
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ConceptryError, match="pass the embedding of one token"):
        read_embeds(tmp_path / "x.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConceptryError, match="pass the file itself"):
        read_embeds(tmp_path / "empty")
