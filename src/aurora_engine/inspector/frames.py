"""Frames. Normative: docs/format/frame.md."""

from __future__ import annotations

import struct
from typing import NamedTuple

from .checksums import checksum
from .damage import Place
from .records import CPL, Record, decode_records

MAGIC = b"AURFRAME"
FORMAT = 1
ALIGN = 4096
BYTES_MAX = 4194304
HEADER = struct.Struct("<8sIIQQQQQQQQQIHHQQ")
HEADER_SUM_AT = 104
RECORD_BYTES_MIN = 32


class FrameHeader(NamedTuple):
    """The header of a frame; the fields are those of the document."""

    length: int
    records: int
    epoch: int
    prev: int
    first: int
    last: int
    volume_first: int
    volume_last: int
    cpl: int
    vdl: int
    time: int
    group: int
    groups: int
    version: int
    payload_sum: int

    @property
    def padded(self) -> int:
        """Bytes on disk."""
        return -(-self.length // ALIGN) * ALIGN


def decode_header(content: bytes, seed: int, place: Place) -> FrameHeader | None:
    """The header of the frame that ``content`` begins with; None when there is no frame."""
    if content[:8] != MAGIC:
        return None
    if len(content) < HEADER.size:
        raise place.damage("a frame is cut short")
    _, *fields, header_sum = HEADER.unpack_from(content)
    if header_sum != checksum(content[:HEADER_SUM_AT], seed):
        raise place.damage("the header of a frame fails its checksum")
    header = FrameHeader._make(fields)
    if header.version != FORMAT:
        raise place.damage(f"a frame has format {header.version}; known is {FORMAT}")
    room = header.length - HEADER.size
    if room <= 0 or header.length > BYTES_MAX:
        raise place.damage(f"a frame says that it has {header.length} bytes")
    if not 1 <= header.records <= room // RECORD_BYTES_MIN:
        raise place.damage(f"a frame of {header.length} bytes says {header.records} records")
    if not header.prev < header.first <= header.last or header.groups < 1:
        raise place.damage(f"a frame goes from {header.first} to {header.last}")
    if not header.volume_first <= header.first <= header.last <= header.volume_last:
        raise place.damage(f"the frame {header.first}..{header.last} is outside of its boxcar")
    if header.cpl not in (0, header.volume_last):
        raise place.damage(f"the frame {header.first}..{header.last} has CPL {header.cpl}")
    return header


def decode_payload(
    content: bytes, header: FrameHeader, seed: int, pages: range, place: Place
) -> list[Record]:
    """The records of a frame; ``content`` is the whole of it, with its padding."""
    payload = content[HEADER.size : header.length]
    name = f"frame {header.first}..{header.last}"
    if checksum(payload, seed) != header.payload_sum:
        raise place.damage(f"the payload of {name} fails its checksum")
    if content[header.length :].strip(b"\0"):
        raise place.damage(f"the padding of {name} is not zero", header.length)
    records = list(decode_records(payload, Place(place.file, place.offset + HEADER.size)))
    if len(records) != header.records:
        raise place.damage(f"{name} has {len(records)} records, says {header.records}")
    lsns = [record.lsn for record in records]
    if lsns != sorted(set(lsns)) or (lsns[0], lsns[-1]) != (header.first, header.last):
        raise place.damage(f"the records of {name} are not in the order of their LSNs")
    foreign = [record.page for record in records if record.page not in pages]
    if foreign:
        raise place.damage(f"{name} has a record of page {foreign[0]}, which is another group's")
    _check_commits(header, records, name, place)
    return records


def _check_commits(header: FrameHeader, records: list[Record], name: str, place: Place) -> None:
    commits = [record for record in records if record.flags & CPL]
    times = [record.time_us or 0 for record in commits]
    if times != sorted(times) or any(time > header.time for time in times):
        raise place.damage(f"the commit times of {name} go back")
    if commits and header.cpl == 0:
        raise place.damage(f"{name} has a CPL at {commits[0].lsn}, but its header says none")
    if header.cpl == header.last and not records[-1].flags & CPL:
        raise place.damage(f"{name} should end at the CPL {header.cpl}, but does not")
