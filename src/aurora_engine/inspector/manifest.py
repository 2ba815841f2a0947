"""The manifest of a segment. Normative: docs/format/segment.md."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from .checksums import checksum
from .damage import Place
from .files import read_whole
from .history import KINDS, Rewind

MAGIC = b"AURMANIF"
FORMAT = 1
BYTES_MAX = 16 << 20
GROUP_PAGES_MAX = 1 << 26
PAGE_BYTES = (4096, 8192, 16384, 32768, 65536)

HEAD = struct.Struct("<8sII16sIIIIQQQQQQQQQQII")
REWOUND = struct.Struct("<QQQQQII48s")
LISTED = struct.Struct("<16Q16sII")
SUM = struct.Struct("<Q")

DELTA, BASE, CHRONICLE = 1, 2, 3
LAYER_KINDS = {DELTA: "delta", BASE: "base part", CHRONICLE: "chronicle"}


class Listed(NamedTuple):
    """A layer as the manifest lists it; the fields are those of the document."""

    number: int
    size: int
    records: int
    first_lsn: int
    last_lsn: int
    first_page: int
    last_page: int
    footer_sum: int
    file_sum: int
    complete: int
    horizon: int
    lowest_root: int
    live: int
    commits: int
    first_time: int
    last_time: int
    origin: bytes
    kind: int
    tier: int

    @property
    def file_name(self) -> str:
        """Name of the layer's file; empty for a part of which nothing is retained."""
        return f"layer-{self.number:016x}" if self.size > 0 else ""


class Manifest(NamedTuple):
    """What a segment says of itself."""

    volume: bytes
    group: int
    copy: int
    page_bytes: int
    copies: int
    group_pages: int
    edition: int
    epoch: int
    base: int
    flushed: int
    proven: int
    vdl: int
    replay_sequence: int
    replay_offset: int
    next_layer: int
    rewinds: tuple[Rewind, ...]
    layers: tuple[Listed, ...]

    @property
    def first_page(self) -> int:
        """First page of the group."""
        return self.group * self.group_pages

    @property
    def end_page(self) -> int:
        """The page behind the group's last."""
        return self.first_page + self.group_pages

    @property
    def horizon(self) -> int:
        """Below it versions of pages may have been collected."""
        return max((layer.horizon for layer in self.layers), default=0)

    def of_kind(self, kind: int) -> list[Listed]:
        """The layers of one kind, in the order of the list."""
        return [layer for layer in self.layers if layer.kind == kind]

    def part_of(self, page: int) -> Listed | None:
        """The base part whose range has the page."""
        within = [part for part in self.of_kind(BASE) if part.first_page <= page]
        return within[-1] if within else None


def read_manifest(path: Path) -> Manifest:
    """Reads and checks the manifest in the file ``path``."""
    return decode_manifest(read_whole(path, BYTES_MAX), str(path))


def decode_manifest(content: bytes, file: str) -> Manifest:
    """The manifest in ``content``, which came from ``file``."""
    place = Place(file, 0)
    if len(content) < HEAD.size + SUM.size or content[:8] != MAGIC:
        raise place.damage("this is no manifest")
    if SUM.unpack(content[-SUM.size :])[0] != checksum(content[: -SUM.size]):
        raise place.damage("the manifest fails its checksum")
    _, version, length, *fields = HEAD.unpack_from(content)
    rewinds, layers = fields[-2:]
    if version != FORMAT:
        raise place.damage(f"the manifest has format {version}; known is {FORMAT}")
    wanted = HEAD.size + rewinds * REWOUND.size + layers * LISTED.size + SUM.size
    if length != len(content) or wanted != length:
        raise place.damage(f"the manifest of {len(content)} bytes should have {wanted} bytes")
    at = HEAD.size
    rewound = [_decode_rewind(content, at + i * REWOUND.size, place) for i in range(rewinds)]
    places = [at + rewinds * REWOUND.size + index * LISTED.size for index in range(layers)]
    listed = [Listed._make(LISTED.unpack_from(content, each)) for each in places]
    manifest = Manifest._make([*fields[:-2], tuple(rewound), tuple(listed)])
    _check_head(manifest, place)
    for layer, each in zip(listed, places, strict=True):
        _check_listed(manifest, layer, Place(file, each))
    _check_order(manifest, place)
    return manifest


def _decode_rewind(content: bytes, at: int, place: Place) -> Rewind:
    lsn, to, epoch, time_us, lost, kind, reserved, who = REWOUND.unpack_from(content, at)
    text, _, rest = who.partition(b"\0")
    if kind not in KINDS or reserved != 0 or rest.strip(b"\0"):
        raise place.damage(f"a rewind has kind {kind} and reserved bytes that are not zero", at)
    try:
        return Rewind(lsn, to, epoch, time_us, lost, kind, text.decode("utf-8"))
    except UnicodeDecodeError:
        raise place.damage("who asked for a rewind is not UTF-8", at) from None


def _check_head(manifest: Manifest, place: Place) -> None:
    if manifest.page_bytes not in PAGE_BYTES:
        raise place.damage(f"the manifest says pages of {manifest.page_bytes} bytes", 40)
    if not 0 < manifest.group_pages <= GROUP_PAGES_MAX:
        raise place.damage(f"the manifest says groups of {manifest.group_pages} pages", 48)
    if manifest.copy >= manifest.copies:
        raise place.damage(f"the manifest says copy {manifest.copy} of {manifest.copies}", 36)
    if not manifest.base <= manifest.flushed <= manifest.proven:
        raise place.damage(
            f"base {manifest.base}, flushed {manifest.flushed} and proven {manifest.proven} are "
            "not in ascending order",
            72,
        )
    if manifest.replay_sequence == 0 or manifest.replay_offset % 4096:
        raise place.damage("the replay position is none", 104)
    ends = [rewind.at for rewind in manifest.rewinds]
    if ends != sorted(set(ends)):
        raise place.damage("the rewinds are not in ascending order", HEAD.size)


def _check_listed(manifest: Manifest, layer: Listed, place: Place) -> None:
    name = f"layer {layer.number:016x}"
    if layer.kind not in LAYER_KINDS:
        raise place.damage(f"{name} is listed with kind {layer.kind}")
    if layer.last_lsn < layer.first_lsn or layer.live > layer.size:
        raise place.damage(f"{name} is listed with ranges that make no sense")
    if layer.complete > manifest.flushed:
        raise place.damage(
            f"{name} is listed as complete up to {layer.complete}, above flushed {manifest.flushed}"
        )
    if layer.kind != CHRONICLE and not (
        manifest.first_page <= layer.first_page <= layer.last_page < manifest.end_page
    ):
        raise place.damage(f"{name} is listed with pages outside of group {manifest.group}")
    if layer.kind == CHRONICLE and layer.records:
        raise place.damage(f"{name} is listed as a chronicle with records")
    if layer.kind == BASE and layer.commits:
        raise place.damage(f"{name} is listed as a base part with commits")
    if layer.kind != BASE and layer.size == 0:
        raise place.damage(f"{name} is listed without a file, but is no base part")
    if layer.size == 0 and layer.records:
        raise place.damage(f"{name} is listed with records, but without a file")


def _check_order(manifest: Manifest, place: Place) -> None:
    """Deltas newest first, base parts that tile the group's pages, chronicles newest first."""
    kinds = [layer.kind for layer in manifest.layers]
    if kinds != sorted(kinds):
        raise place.damage("layers of different kinds are mixed in the manifest's list", HEAD.size)
    for kind in (DELTA, CHRONICLE):
        layers = manifest.of_kind(kind)
        for newer, older in pairwise(layers):
            if newer.first_lsn <= older.last_lsn or newer.complete <= older.complete:
                raise place.damage(
                    f"{LAYER_KINDS[kind]}s {newer.number:016x} and {older.number:016x} overlap or "
                    "are not listed newest first",
                    HEAD.size,
                )
    parts = manifest.of_kind(BASE)
    if parts and parts[0].first_page != manifest.first_page:
        raise place.damage(
            f"the base begins at page {parts[0].first_page}, the group at {manifest.first_page}",
            HEAD.size,
        )
    for lower, upper in pairwise(parts):
        if lower.last_page >= upper.first_page:
            raise place.damage(
                f"base parts {lower.number:016x} and {upper.number:016x} overlap at page "
                f"{upper.first_page}",
                HEAD.size,
            )
    numbers = [layer.number for layer in manifest.layers if layer.size > 0]
    if len(numbers) != len(set(numbers)):
        raise place.damage("two layers have the same number", HEAD.size)
