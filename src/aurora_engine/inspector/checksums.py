"""Checksums, their seeds, and compressed blocks. Normative: docs/format/README.md, segment.md."""

from __future__ import annotations

from collections.abc import Iterable

import xxhash
import zstandard

from .damage import Place

MASK = (1 << 64) - 1
NUMBER_FACTOR = 0x9E3779B97F4A7C15
OFFSET_FACTOR = 0xC2B2AE3D27D4EB4F


def checksum(content: bytes | memoryview, seed: int = 0) -> int:
    """XXH3 with 64 bits."""
    return xxhash.xxh3_64_intdigest(content, seed)


def checksum_of(pieces: Iterable[bytes], seed: int) -> int:
    """The same of bytes that come in pieces."""
    state = xxhash.xxh3_64(seed=seed)
    for piece in pieces:
        state.update(piece)
    return state.intdigest()


def volume_seed(volume_id: bytes) -> int:
    """The seed that ties bytes to a volume."""
    return checksum(volume_id)


def place_seed(seed: int, number: int, offset: int) -> int:
    """The seed that ties a block to a layer and to where it stands in it."""
    return (seed ^ (number * NUMBER_FACTOR) ^ (offset * OFFSET_FACTOR)) & MASK


def unpack(stored: bytes, raw_bytes: int, place: Place) -> bytes:
    """Decompresses a block that is known to have ``raw_bytes``."""
    try:
        # The frame's own size is believed only when it is the one expected: a decompressor would
        # allocate whatever it says.
        if zstandard.get_frame_parameters(stored).content_size != raw_bytes:
            raise place.damage(f"a block does not decompress to {raw_bytes} bytes")
        raw = zstandard.ZstdDecompressor().decompress(
            stored, max_output_size=raw_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise place.damage(f"a block does not decompress: {error}") from None
    if len(raw) != raw_bytes:
        raise place.damage(f"a block decompresses to {len(raw)} bytes, not {raw_bytes}")
    return raw
