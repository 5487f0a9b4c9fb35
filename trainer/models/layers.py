"""The layers of Stable Diffusion as plain functions of tensors, fast where the weights do not change.

The weights are float32, bfloat16 or float16, and what is multiplied by them is cast to that; means, variances and
softmax are always float32. Feature maps are (B, H, W, C), sequences (B, T, C), kernels as Keras keeps them.

On a CPU, a convolution with a big kernel is a product of patches and kernel: TensorFlow's own reorders the kernel in
every step, forward and backward, and for the deep levels (4 x 4 pixels, 59 MB of kernel) that is most of the time. With
a small kernel TensorFlow's own is as fast as can be, but only for two pictures or more: a single one goes through it
as two bands, two to five times faster. On a GPU the library's convolution is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import tensorflow as tf

from trainer.models.shapes import EPSILON

GROUPS = 32
SMALL_KERNEL = {tf.float32: 2**22, tf.bfloat16: 2**18, tf.float16: 2**18}
"""Elements of the kernels (in float32 up to 640 x 640 channels) that TensorFlow's own convolution is faster with."""
MANY_PIXELS = 2**10
"""Pixels of a picture (32 x 32) from which on it is convolved in two bands when it is alone."""
HEADROOM = {tf.float16: 16.0}
"""What attention scores are divided by while they are float16, which ends at 65,504: Stable Diffusion 2's go beyond."""
MANY_SCORES = 2**22
"""Scores of a head (2048 tokens to as many) from which on they are not kept for the gradient."""


ReadWeight = Callable[..., Any]
"""Reads the next weight of given shapes, a tf.Variable; see `trainer.base_weights.weight_reader.WeightReader`."""


class Affine:
    """A kernel and a bias, or a norm's gamma and beta."""

    def __init__(self, read: ReadWeight, *shape: int) -> None:
        self.kernel = read(shape)
        self.bias = read(shape[-1:])

    def __iter__(self) -> Iterator[Any]:
        return iter((self.kernel, self.bias))


@cache
def on_gpu() -> bool:
    """Tell whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


@cache
def disable_grappler_on_cpu() -> None:
    """Disable Grappler on a CPU; to be called before the first graph runs.

    It fuses some small operations, which makes no step faster here, and takes the time of one and a half full-size
    steps. On a GPU it stays on.
    """
    if not on_gpu():
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def dense(x: Any, kernel: Any, bias: Any = None, *, transposed: bool = False) -> Any:
    """Multiply (..., I) by a kernel (I, O) and add a bias (O,); a transposed kernel is (O, I).

    On a CPU a product by a few thousand columns takes half the time when its kernel lies transposed: rows whose length
    is a multiple of a memory page fight for the same lines of the cache.
    """
    *outer, width = x.shape
    # A product of three dimensions by two would be broadcast, which is several times slower.
    y = tf.matmul(tf.reshape(tf.cast(x, kernel.dtype), (-1, width)), kernel, transpose_b=transposed)
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    return tf.reshape(y, (*(-1 if size is None else size for size in outer), kernel.shape[0 if transposed else 1]))


def conv(x: Any, kernel: Any, bias: Any, stride: int = 1) -> Any:
    """Convolve with a 1 x 1 or a 3 x 3 kernel; the latter pads by one pixel on every side, also with stride 2."""
    x = tf.cast(x, kernel.dtype)
    if kernel.shape[0] == 1:
        return dense(x, tf.reshape(kernel, kernel.shape[2:]), bias)
    if on_gpu() or kernel.shape.num_elements() <= SMALL_KERNEL[x.dtype]:
        return conv_padded(tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), kernel, bias, stride)
    return tf.nn.bias_add(_conv_of_patches(x, tf.convert_to_tensor(kernel), stride), bias)


def conv_padded(padded: Any, kernel: Any, bias: Any, stride: int) -> Any:
    """Convolve (B, H, W, C) with a 3 x 3 kernel without padding it any more."""
    batch, height, width, _ = padded.shape
    rows, columns = (height - 3) // stride + 1, (width - 3) // stride + 1
    if on_gpu() or batch != 1 or rows % 2 or rows * columns < MANY_PIXELS:
        return tf.nn.bias_add(tf.nn.conv2d(padded, kernel, stride, "VALID"), bias)
    return tf.nn.bias_add(_conv_in_bands(padded, tf.convert_to_tensor(kernel), stride, rows, columns), bias)


def _conv_in_bands(padded: Any, kernel: Any, stride: int, rows: int, columns: int) -> Any:
    half = rows // 2

    @tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
    def run(padded: Any) -> Any:
        bands = [padded[:, start * stride :][:, : (half - 1) * stride + 3] for start in (0, half)]
        y = tf.nn.conv2d(tf.concat(bands, 0), kernel, stride, "VALID")

        def gradient(dy: Any) -> Any:
            # Of this TensorFlow's own is as fast for one picture as for two.
            strides = (1, stride, stride, 1)
            return tf.raw_ops.Conv2DBackpropInput(
                input_sizes=padded.shape, filter=kernel, out_backprop=dy, strides=strides, padding="VALID"
            )

        return tf.reshape(y, (1, rows, columns, kernel.shape[-1])), gradient

    return run(padded)


def _conv_of_patches(x: Any, kernel: Any, stride: int) -> Any:
    _, height, width, channels = x.shape
    rows, columns = height // stride, width // stride
    matrix = tf.reshape(kernel, (-1, kernel.shape[-1]))
    spots = [(i, j) for i in range(3) for j in range(3)]

    def forward(x: Any) -> Any:
        padded = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        patches = [padded[:, i : i + height : stride, j : j + width : stride] for i, j in spots]
        y = tf.matmul(tf.reshape(tf.concat(patches, -1), (-1, 9 * channels)), matrix)
        return tf.reshape(y, (-1, rows, columns, matrix.shape[-1]))

    @tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
    def run(x: Any) -> Any:
        def gradient(dy: Any) -> Any:
            # Each patch goes back to where it came from; the kernel is frozen and gets none.
            parts = tf.matmul(tf.reshape(dy, (-1, dy.shape[-1])), matrix, transpose_b=True)
            parts = tf.split(tf.reshape(parts, (-1, rows, columns, 9 * channels)), 9, axis=-1)
            back = [_place(part, i, j, stride) for part, (i, j) in zip(parts, spots, strict=True)]
            return tf.add_n(back)[:, 1:-1, 1:-1]

        return forward(x), gradient

    return run(x)


def _place(part: Any, i: int, j: int, stride: int) -> Any:
    """Put a patch's gradient, (B, H / stride, W / stride, C), at its spot in the padded picture."""
    _, rows, columns, channels = part.shape
    if stride == 2:
        part = tf.reshape(part, (-1, rows, 1, columns, 1, channels))
        part = tf.pad(part, ((0, 0), (0, 0), (0, 1), (0, 0), (0, 1), (0, 0)))
        part = tf.reshape(part, (-1, rows * 2, columns * 2, channels))
    return tf.pad(part, ((0, 0), (i, 2 - i), (j, 2 - j), (0, 0)))


def group_norm(x: Any, epsilon: float, gamma: Any, beta: Any) -> Any:
    """Normalize (B, H, W, C) over 32 groups of channels; float32 out."""
    _, height, width, channels = x.shape
    size = channels // GROUPS

    def over_groups(values: Any) -> Any:
        grouped = tf.reduce_mean(tf.reshape(tf.reduce_mean(values, axis=1), (-1, GROUPS, size)), axis=2, keepdims=True)
        return tf.reshape(tf.tile(grouped, (1, 1, size)), (-1, 1, channels))

    flat = tf.reshape(tf.cast(x, tf.float32), (-1, height * width, channels))
    return tf.reshape(_normalize(flat, gamma, beta, over_groups, epsilon), (-1, height, width, channels))


def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
    """Normalize over the last axis; float32 out."""
    return _normalize(tf.cast(x, tf.float32), gamma, beta, lambda x: tf.reduce_mean(x, axis=-1, keepdims=True), EPSILON)


def _normalize(x: Any, gamma: Any, beta: Any, average: Callable[[Any], Any], epsilon: float) -> Any:
    """Take away the average and divide by the standard deviation; scale and shift are frozen and get no gradient."""
    gamma, beta = (tf.cast(tf.convert_to_tensor(weight), tf.float32) for weight in (gamma, beta))

    @tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
    def run(x: Any) -> Any:
        centered = x - average(x)
        inverse = tf.math.rsqrt(average(tf.square(centered)) + epsilon)
        normal = centered * inverse

        def gradient(dy: Any) -> Any:
            dy = dy * gamma
            return (dy - average(dy) - normal * average(dy * normal)) * inverse

        return normal * gamma + beta, gradient

    return run(x)


def attention(queries: Any, keys: Any, values: Any, heads: int, mask: Any = None) -> Any:
    """Attend from (B, T, C) to (B, S, C) by scaled dot product in `heads` heads; add `mask` (T, S) to the scores."""
    _, length, channels = queries.shape

    def split(x: Any) -> Any:
        return tf.transpose(tf.reshape(x, (-1, x.shape[1], heads, channels // heads)), (0, 2, 1, 3))

    scale = tf.cast((channels // heads) ** -0.5 / HEADROOM.get(queries.dtype, 1.0), queries.dtype)
    parts = split(queries * scale), split(keys), split(values)
    few = mask is not None or length * keys.shape[1] < MANY_SCORES
    attended = _attend(*parts, mask) if few else _attend_head_by_head(*parts)
    return tf.reshape(tf.transpose(attended, (0, 2, 1, 3)), (-1, length, channels))


def _attend(queries: Any, keys: Any, values: Any, mask: Any = None) -> Any:
    """Attend with scaled queries to keys and values, each (..., tokens, channels)."""
    return tf.matmul(_shares(queries, keys, values.dtype, mask), values)


def _shares(queries: Any, keys: Any, dtype: Any, mask: Any = None) -> Any:
    """Compute attention weights, (..., T, S): a softmax in float32, then cast."""
    scores = tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32)
    if queries.dtype in HEADROOM:
        scores *= HEADROOM[queries.dtype]
    return tf.cast(tf.nn.softmax(scores if mask is None else scores + mask), dtype)


@tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
def _attend_head_by_head(queries: Any, keys: Any, values: Any) -> Any:
    """Attend as `_attend`, for many tokens: keep one head's scores at a time, recompute them for the gradient.

    At 512 x 512 pixels the eight heads of one layer have 134 million.
    """

    def heads_of(x: Any) -> Any:
        return tf.transpose(x, (1, 0, 2, 3))

    def each(work: Callable[..., Any], *arrays: Any, signature: Any) -> Any:
        heads = tuple(map(heads_of, arrays))
        done = tf.map_fn(lambda one: work(*one), heads, parallel_iterations=1, fn_output_signature=signature)
        return tf.nest.map_structure(heads_of, done)

    dtype = queries.dtype

    def gradient(d_attended: Any) -> Any:
        def backward(q: Any, k: Any, v: Any, dy: Any) -> Any:
            shares = _shares(q, k, v.dtype)
            d_shares = tf.matmul(dy, v, transpose_b=True)
            d_scores = (
                HEADROOM.get(dtype, 1.0)
                * shares
                * (d_shares - tf.reduce_sum(d_shares * shares, axis=-1, keepdims=True))
            )
            d_keys, d_values = (tf.matmul(*pair, transpose_a=True) for pair in ((d_scores, q), (shares, dy)))
            return tf.matmul(d_scores, k), d_keys, d_values

        return each(backward, queries, keys, values, d_attended, signature=(dtype, dtype, dtype))

    return each(_attend, queries, keys, values, signature=values.dtype), gradient


def split_columns(x: Any, count: int) -> Sequence[Any]:
    """Cut the last axis into `count` equal parts."""
    parts: Sequence[Any] = tf.split(x, count, axis=-1)
    return parts


def swish(x: Any) -> Any:
    """Compute x times its sigmoid (SiLU)."""
    return tf.nn.silu(x)


def quick_gelu(x: Any) -> Any:
    """Compute CLIP's activation: x times the sigmoid of 1.702 x."""
    return tf.nn.silu(x, beta=1.702)


@tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
def gelu(x: Any) -> Any:
    """Compute GELU (Hendrycks and Gimpel 2016): x times the normal distribution's share below x."""
    share = 0.5 + 0.5 * tf.math.erf(x * 0.7071067811865476)

    def gradient(dy: Any) -> Any:
        return dy * (share + x * 0.3989422804014327 * tf.exp(-0.5 * x * x))

    return x * share, gradient


@tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
def tanh_gelu(x: Any) -> Any:
    """Compute the tanh approximation of GELU, as KerasCV's UNet does."""
    a, b = 0.7978845608, 0.044715
    square = x * x
    tanh = tf.tanh(x * (a + a * b * square))

    def gradient(dy: Any) -> Any:
        slope = (0.5 - 0.5 * tanh * tanh) * x * (a + 3.0 * a * b * square)
        return dy * (0.5 + 0.5 * tanh + slope)

    return 0.5 * x * (1.0 + tanh), gradient


def upsample(x: Any) -> Any:
    """Double height and width, each pixel four times."""
    _, height, width, channels = x.shape
    x = tf.reshape(x, (-1, height, 1, width, 1, channels))
    return tf.reshape(tf.tile(x, (1, 1, 2, 1, 2, 1)), (-1, 2 * height, 2 * width, channels))
