"""Weights on disk: the project's own safetensors file, and the .h5 files in which KerasCV publishes its models."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from safetensors import safe_open

from trainer.base_weights.safetensors_file import SafetensorsFile
from trainer.base_weights.sd_checkpoint import pieces
from trainer.base_weights.tensor_names import Name

Array = npt.NDArray[Any]
_ALIGNMENT = 64
"""Bytes: where TensorFlow's kernels want a tensor to begin."""
_THREADS, _AHEAD = 2, 8
"""Threads that copy arrays, and how many arrays (150 MB each at most at full size) may be copied ahead."""


def read(path: Path, part: str) -> Iterator[Array]:
    """Read the arrays of one part in the order of its Keras model's weights, one at a time.

    A .safetensors file may hold several parts; an .h5 file holds one, as Keras 2 and `legacy_h5` write it.

    Raises:
        ValueError: The file is neither, or is damaged.
    """
    if path.suffix == ".h5":
        yield from _copied_ahead(_read_h5(path))
        return
    with safe_open(str(path), framework="np") as file:
        for name in sorted(name for name in file.keys() if name.startswith(f"{part}/")):  # noqa: SIM118
            yield file.get_tensor(name)


def _read_h5(path: Path) -> Iterator[Array]:
    # Only here: no other kind of weights needs it.
    import h5py

    try:
        with h5py.File(path, "r") as file:
            for layer in _texts(file, "layer_names"):
                for name in _texts(file[layer], "weight_names"):
                    yield _array(path, file[layer][name])
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} does not hold the weights of a Keras model: {error}") from error


def _texts(group: Any, attribute: str) -> list[str]:
    # Keras cuts a list that does not fit into one attribute (64 KB) into several, numbered from 0.
    chunks = [group.attrs[attribute]] if attribute in group.attrs else []
    while f"{attribute}{len(chunks)}" in group.attrs:
        chunks.append(group.attrs[f"{attribute}{len(chunks)}"])
    return [text.decode() if isinstance(text, bytes) else str(text) for chunk in chunks for text in chunk]


def _array(path: Path, dataset: Any) -> Array:
    """Map a dataset's values from the file where they lie in one piece, so that nothing is read before it is used."""
    offset = dataset.id.get_offset()
    if offset is None or dataset.chunks is not None:
        return np.asarray(dataset[()])
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)


def _copied_ahead(arrays: Iterator[Array]) -> Iterator[Array]:
    """Copy arrays into memory in threads that run a few arrays ahead: half of loading is copying."""
    with ThreadPoolExecutor(_THREADS) as pool:
        copies: deque[Future[Array]] = deque()
        for array in arrays:
            copies.append(pool.submit(_copy, array))
            if len(copies) > _AHEAD:
                yield copies.popleft().result()
        while copies:
            yield copies.popleft().result()


def read_named(file: SafetensorsFile, names: Iterable[Name]) -> Iterator[Array]:
    """Read tensors by their names in another program's file, as float32 and as our layers keep them.

    Raises:
        ValueError: One is missing.
    """
    return _copied_ahead(name.ours(piece) for name, piece in pieces(file, names))


def _copy(array: Array) -> Array:
    # TensorFlow takes no bfloat16 and no float16 from NumPy without a copy.
    dtype = np.dtype("float32") if array.dtype.itemsize == 2 else array.dtype
    room = np.empty(array.size * dtype.itemsize + _ALIGNMENT, "uint8")
    start = -room.ctypes.data % _ALIGNMENT
    copy = room[start : start + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    np.copyto(copy, array)
    return copy


def _tensor(array: Array) -> Any:
    """Turn an array, which must not change any more, into a tensor.

    It is not copied where it lies as TensorFlow wants; `tf.constant` copies twice.
    """
    if array.flags.carray and array.ctypes.data % _ALIGNMENT == 0:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)


class WeightReader:
    """Turns arrays into the frozen variables of a part, in order.

    Args:
        arrays: What `read` gives.
        dtype: What the variables are stored and computed in, "float32", "bfloat16" or "float16".
        where: For messages: which file and part.
    """

    def __init__(self, arrays: Iterator[Array], dtype: str, where: str) -> None:
        self._arrays, self._dtype, self._where = arrays, dtype, where
        self.variables: list[tf.Variable] = []

    def __call__(self, *shapes: Sequence[int], transposed: bool = False) -> tf.Variable:
        """Read the next weight; with several shapes, that many weights side by side (along the last axis) in one.

        With `transposed` a matrix is stored the other way round.

        Raises:
            ValueError: The file does not fit: another architecture, or a damaged file.
        """
        arrays = [self._next(shape) for shape in shapes]
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)
        # A matrix keeps the type that it is multiplied in, a bias or a norm's scale too; they are small.
        value = tf.cast(_tensor(array), self._dtype)
        value = tf.transpose(value) if transposed else value
        variable = tf.Variable(value, trainable=False, name=f"{len(self.variables):04d}")
        self.variables.append(variable)
        return variable

    def finish(self) -> None:
        """Check that the file holds nothing more. Raises ValueError."""
        if next(self._arrays, None) is not None:
            raise ValueError(f"{self._where} holds more than {len(self.variables)} weights: another architecture")

    def _next(self, shape: Sequence[int]) -> Array:
        array = next(self._arrays, None)
        if array is None:
            raise ValueError(f"{self._where} holds only {len(self.variables)} of the weights")
        if array.shape != tuple(shape):
            number = len(self.variables)
            raise ValueError(f"{self._where}: weight {number} has shape {array.shape}, not {tuple(shape)}")
        return array


def free(variables: Iterable[tf.Variable]) -> None:
    """Give back the memory of weights that nothing reads any more.

    To forget the variables is not enough: TensorFlow registers the custom gradients of a traced function for good, and
    with them the function and all that it has captured.
    """
    for variable in variables:
        # Of several replicas each has its own.
        for one in getattr(variable, "values", (variable,)):
            tf.raw_ops.AssignVariableOp(resource=one.handle, value=tf.zeros((0,), one.dtype))
