"""What was read, as plain values: one shape for JSON and for text."""

from __future__ import annotations

import base64
from typing import Any

from .damage import Damage
from .history import KINDS, Rewind
from .hot_log import Extent, StoredFrame
from .layers import Layer
from .manifest import LAYER_KINDS, Listed, Manifest
from .metadata import Metadata
from .pages import BITMAP, BODY_AT, INNER, LEAF, OVERFLOW, TYPES, Page
from .records import preview
from .segments import Segment

Facts = dict[str, Any]


def metadata_facts(metadata: Metadata) -> Facts:
    """The metadata of a volume."""
    return metadata._asdict() | {
        "volume_id": metadata.volume_id.hex(),
        "parent_id": None if metadata.parent_id is None else metadata.parent_id.hex(),
        "zones": [list(zone) for zone in metadata.zones],
        "copies": metadata.copies,
    }


def rewind_facts(rewind: Rewind) -> Facts:
    """A rewind."""
    return {
        "kind": KINDS[rewind.kind],
        "from": rewind.at,
        "to": rewind.to,
        "time_us": rewind.time_us,
        "who": rewind.who,
        "lost_commits": rewind.lost,
        "epoch": rewind.epoch,
    }


def listed_facts(listed: Listed) -> Facts:
    """A layer as the manifest lists it."""
    return listed._asdict() | {
        "file": listed.file_name,
        "kind": LAYER_KINDS[listed.kind],
        "origin": listed.origin.hex(),
        "number": f"{listed.number:016x}",
        "footer_sum": f"{listed.footer_sum:016x}",
        "file_sum": f"{listed.file_sum:016x}",
    }


def manifest_facts(manifest: Manifest) -> Facts:
    """A manifest."""
    return manifest._asdict() | {
        "volume": manifest.volume.hex(),
        "horizon": manifest.horizon,
        "rewinds": [rewind_facts(rewind) for rewind in manifest.rewinds],
        "layers": [listed_facts(listed) for listed in manifest.layers],
    }


def frame_facts(frame: StoredFrame) -> Facts:
    """A frame of the hot log."""
    header = frame.header
    return {
        "offset": frame.offset,
        "first": header.first,
        "last": header.last,
        "prev": header.prev,
        "records": header.records,
        "bytes": header.length,
        "epoch": header.epoch,
        "vdl": header.vdl,
        "cpl": header.cpl,
        "time_us": header.time,
        "volume_first": header.volume_first,
        "volume_last": header.volume_last,
        "groups": header.groups,
        "stale": frame.stale,
        "problem": None if frame.problem is None else frame.problem.what,
    }


def extent_facts(extent: Extent) -> Facts:
    """An extent of the hot log."""
    live = extent.live
    return {
        "file": extent.path.name,
        "sequence": extent.sequence,
        "size": extent.size,
        "stale": extent.stale,
        "frames": len(live),
        "stale_frames": len(extent.frames) - len(live),
        "first_lsn": live[0].header.first if live else None,
        "last_lsn": max(frame.header.last for frame in live) if live else None,
        "records": sum(frame.header.records for frame in live),
    }


def segment_facts(segment: Segment, zone: str | None) -> Facts:
    """A segment: its manifest, and what was read back from the log."""
    facts = manifest_facts(segment.manifest)
    layers = segment.manifest.layers
    return (
        {"path": str(segment.folder), "zone": zone}
        | facts
        | {
            "scl": segment.log.scl,
            "vdl": segment.log.vdl,
            "hot_frames": len(segment.log.chain),
            "hot_records": sum(len(frame.records) for frame in segment.log.chain),
            "extents": [extent_facts(extent) for extent in segment.log.extents],
            "layer_bytes": sum(layer.size for layer in layers),
            "live_bytes": sum(layer.live for layer in layers),
            "log_bytes": sum(extent.size for extent in segment.log.extents),
        }
    )


def layer_facts(layer: Layer) -> Facts:
    """A layer by itself: header and footer."""
    header, footer = layer.header, layer.footer
    return {
        "number": f"{header.number:016x}",
        "size": layer.file.size,
        "group": header.group,
        "volume": header.volume.hex(),
        "page_bytes": header.page_bytes,
        "kind": LAYER_KINDS.get(footer.kind, str(footer.kind)),
        "tier": footer.tier,
        "records": footer.records,
        "first_lsn": footer.first_lsn,
        "last_lsn": footer.last_lsn,
        "first_page": footer.first_page,
        "last_page": footer.last_page,
        "complete": footer.complete,
        "commits": footer.commit_count,
        "first_time": footer.first_time,
        "last_time": footer.last_time,
        "data_blocks": None,
        "index_blocks": None,
        "bitmap_bytes": footer.bitmap.raw,
    }


def damage_facts(found: Damage) -> Facts:
    """Damage."""
    return {"file": found.file, "offset": found.offset, "what": found.what}


def page_facts(page: Page, moment: int, limit: int | None) -> Facts:
    """A page with its cells, and its bytes."""
    _, page_id, lsn, kind, level, slots, heap, garbage, owner, link, count = page.header()
    return {
        "page": page_id,
        "at": moment,
        "lsn": lsn,
        "type": TYPES[kind],
        "level": level,
        "slots": slots,
        "heap": heap,
        "garbage": garbage,
        "owner": owner,
        "link": link,
        "count": count,
        "contents": _contents(page, limit),
        "bytes_base64": base64.b64encode(page.bytes).decode("ascii"),
    }


def _contents(page: Page, limit: int | None) -> list[str]:
    """The page's cells or payload for people (docs/format/tree.md)."""
    if page.type == OVERFLOW:
        return [f"{page.link} bytes: {preview(bytes(page.bytes[BODY_AT : BODY_AT + page.link]))}"]
    if page.type == BITMAP:
        used = int.from_bytes(page.bytes[BODY_AT:], "little").bit_count()
        return [f"{used} pages in use"]
    if not page.has_slots:
        return [preview(bytes(page.bytes[BODY_AT:]))]
    shown = range(page.slots if limit is None else min(limit, page.slots))
    show = {LEAF: _leaf_cell, INNER: _inner_cell}[page.type]
    return [show(page.cell(index)) for index in shown]


def _leaf_cell(cell: bytes) -> str:
    head = int.from_bytes(cell[:2], "little")
    end = 2 + (head & 0x7FFF)
    key, value = cell[2:end], cell[end:]
    if head & 0x8000:
        length, first = int.from_bytes(value[:8], "little"), int.from_bytes(value[8:], "little")
        return f"{preview(key)} = {length} bytes from page {first}"
    return f"{preview(key)} = {len(value)} bytes {preview(value)}"


def _inner_cell(cell: bytes) -> str:
    return f"page {int.from_bytes(cell[:8], 'little')} from {preview(cell[8:])}"
