"""PNG files made by hand, with depths and chunks that Pillow does not write."""

import struct
import zlib


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and its check sum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def make_png(width: int, height: int, depth: int, colour: int, rows: bytes, *, extra: bytes = b"") -> bytes:
    """Return a PNG.

    Args:
        width: In pixels.
        height: In pixels.
        depth: Bits of a channel.
        colour: Type of colour: 0 grey, 2 RGB, 6 RGB with alpha.
        rows: Pixels, each row after the byte of its filter.
        extra: Chunks between header and pixels.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
