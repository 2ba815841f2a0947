"""Checks all of a layer: checksums, order, counts, and that its parts agree with each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from .checksums import checksum_of
from .damage import Findings, Place
from .layers import FOOTER, HEADER, INDEX_POINTERS, Layer, Pointer
from .manifest import BASE, DELTA, LAYER_KINDS, Listed, Manifest
from .records import CPL, IMAGE, Record

COMMITS_PER_BLOCK = 512
FIRST_COMMIT_BYTES = 16
LSN_MAX = (1 << 64) - 1


@dataclass
class Seen:
    """What the blocks held, to be compared with what the footer says."""

    records: int = 0
    first_lsn: int = LSN_MAX
    last_lsn: int = 0
    first_page: int | None = None
    last: Record | None = None
    pages: set[int] = field(default_factory=set)
    commits: list[tuple[int, int]] = field(default_factory=list)


def read_commits(layer: Layer, pointer: Pointer) -> list[tuple[int, int]]:
    """LSN and time of the commits in a block of commits."""
    content = layer.read_block(pointer)
    place = Place(layer.name, pointer.offset)
    if len(content) < FIRST_COMMIT_BYTES:
        raise place.damage("a block of commits is cut short")
    lsn = int.from_bytes(content[:8], "little")
    time = int.from_bytes(content[8:16], "little")
    commits = [(lsn, time)]
    at = FIRST_COMMIT_BYTES
    while at < len(content):
        grown, at = _varint(content, at, place)
        later, at = _varint(content, at, place)
        lsn, time = lsn + grown, time + later
        if grown == 0 or lsn > LSN_MAX or time > LSN_MAX:
            raise place.damage("the commits of a block are not in ascending order")
        commits.append((lsn, time))
    return commits


def _varint(content: bytes, at: int, place: Place) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and value <= LSN_MAX:
            return value, at
    raise place.damage("a number in a block of commits does not end")


def check_layer(layer: Layer, manifest: Manifest | None, findings: Findings) -> None:
    """Reads every byte of a layer and notes what is wrong."""
    before = len(findings.damage)
    seen = Seen()
    pointers = _check_index(layer, findings)
    for index, pointer in enumerate(pointers):
        with findings.catching():
            _check_block(layer, index, pointer, manifest, seen)
    commits: list[tuple[int, int]] = []
    with findings.catching():
        commits = _check_commits(layer)
    with findings.catching():
        bitmap = layer.bitmap()
        if len(findings.damage) == before:
            # What is compared here would differ as well where something above is damaged.
            _check_bitmap(layer, bitmap, seen)
            _check_counts(layer, seen, commits)
    findings.counts["files"] += 1
    findings.counts["bytes"] += layer.file.size
    findings.counts["records"] += seen.records
    findings.counts["commits"] += len(commits)


def check_listed(layer: Layer, listed: Listed, manifest: Manifest, findings: Findings) -> None:
    """Compares a layer with its entry in the manifest."""
    header, footer = layer.header, layer.footer
    foot = layer.file.size - FOOTER.size
    if (header.number, header.volume) != (listed.number, listed.origin):
        findings.add(layer.name, 0, "the layer is another one than the manifest lists")
    if (header.group, header.page_bytes) != (manifest.group, manifest.page_bytes):
        findings.add(
            layer.name, 0, f"a layer of group {header.group} with pages of {header.page_bytes}"
        )
    if footer.sum != listed.footer_sum:
        findings.add(layer.name, foot, "the footer is not the one that the manifest lists")
    pairs = {
        "kind": (footer.kind, listed.kind),
        "tier": (footer.tier, listed.tier),
        "records": (footer.records, listed.records),
        "first_lsn": (footer.first_lsn, listed.first_lsn),
        "last_lsn": (footer.last_lsn, listed.last_lsn),
        "first_page": (footer.first_page, listed.first_page),
        "last_page": (footer.last_page, listed.last_page),
        "commits": (footer.commit_count, listed.commits),
        "first_time": (footer.first_time, listed.first_time),
        "last_time": (footer.last_time, listed.last_time),
    }
    for name, (own, entry) in pairs.items():
        if own != entry:
            findings.add(layer.name, foot, f"the footer says {name} {own}, the manifest {entry}")
    grows = listed.kind == BASE and footer.complete <= listed.complete
    if footer.complete != listed.complete and not grows:
        findings.add(
            layer.name,
            foot,
            f"the footer says complete {footer.complete}, the manifest {listed.complete}",
        )


def check_sum(layer: Layer, listed: Listed, findings: Findings) -> None:
    """Compares the checksum of the whole file with the manifest's."""
    if checksum_of(layer.file.pieces(), layer.seed_at(0)) != listed.file_sum:
        findings.add(layer.name, 0, "the file fails its checksum")


def _check_index(layer: Layer, findings: Findings) -> list[Pointer]:
    """The pointers to data blocks; that the parts of the file stand behind each other."""
    pointers: list[Pointer] = []
    at_index: list[tuple[str, Pointer]] = []
    with findings.catching():
        root = layer.root()
        for number, index in enumerate(root):
            at_index.append(("index block", index))
            with findings.catching():
                block = layer.read_index(index)
                if number < len(root) - 1 and len(block) != INDEX_POINTERS:
                    raise layer.damage(index.offset, "an index block before the last is not full")
                pointers += block
    commits: list[Pointer] = []
    with findings.catching():
        commits = layer.read_pointers(layer.footer.commits)
    parts = [("data block", pointer) for pointer in pointers] + at_index
    parts += [("root", layer.footer.root), ("bitmap", layer.footer.bitmap)]
    parts += [("block of commits", pointer) for pointer in commits]
    parts += [("index of commits", layer.footer.commits)]
    with findings.catching():
        _check_places(layer, parts)
    return pointers


def _check_places(layer: Layer, parts: list[tuple[str, Pointer]]) -> None:
    expected = HEADER.size
    for what, pointer in parts:
        if pointer.offset != expected:
            raise layer.damage(pointer.offset, f"the {what} should stand at {expected}")
        expected += pointer.stored
    if expected != layer.file.size - FOOTER.size:
        raise layer.damage(expected, "the footer does not stand behind the index of commits")


def _check_block(
    layer: Layer, index: int, pointer: Pointer, manifest: Manifest | None, seen: Seen
) -> None:
    place = Place(layer.name, pointer.offset)
    records = layer.read_records(pointer)
    if (records[0].page, records[0].lsn) != (pointer.page, pointer.lsn):
        raise place.damage(f"data block {index} begins with another record than its pointer says")
    for record in records:
        _check_order(layer, seen.last, record, place)
        if manifest is not None and not manifest.first_page <= record.page < manifest.end_page:
            raise place.damage(f"a record of page {record.page}, which is another group's")
        seen.last = record
        seen.records += 1
        seen.first_lsn = min(seen.first_lsn, record.lsn)
        seen.last_lsn = max(seen.last_lsn, record.lsn)
        seen.first_page = record.page if seen.first_page is None else seen.first_page
        seen.pages.add(record.page)
        if record.flags & CPL:
            seen.commits.append((record.lsn, record.time_us or 0))


def _check_order(layer: Layer, last: Record | None, record: Record, place: Place) -> None:
    if last is None or (last.page, last.lsn) < (record.page, record.lsn):
        return
    same = (last.page, last.lsn) == (record.page, record.lsn)
    if same and layer.footer.kind == BASE and record.op == IMAGE and last.op != IMAGE:
        return
    raise place.damage(
        f"the record of page {record.page} at LSN {record.lsn} stands behind that of page "
        f"{last.page} at LSN {last.lsn}"
    )


def _check_commits(layer: Layer) -> list[tuple[int, int]]:
    footer = layer.footer
    commits: list[tuple[int, int]] = []
    for pointer in layer.read_pointers(footer.commits):
        if len(commits) % COMMITS_PER_BLOCK:
            raise layer.damage(pointer.offset, "a block of commits before the last is not full")
        block = read_commits(layer, pointer)
        if len(block) > COMMITS_PER_BLOCK or block[0] != (pointer.lsn, pointer.page):
            raise layer.damage(pointer.offset, "a block of commits does not fit its pointer")
        if commits and not (commits[-1][0] < block[0][0] and commits[-1][1] <= block[0][1]):
            raise layer.damage(pointer.offset, "blocks of commits are not in ascending order")
        commits += block
    if len(commits) != footer.commit_count:
        raise layer.damage(
            footer.commits.offset,
            f"there are {len(commits)} commits, the footer says {footer.commit_count}",
        )
    times = (commits[0][1], commits[-1][1]) if commits else (0, 0)
    if times != (footer.first_time, footer.last_time):
        raise layer.damage(footer.commits.offset, "the footer says other times of commits")
    return commits


def _check_bitmap(layer: Layer, bitmap: bytes, seen: Seen) -> None:
    footer = layer.footer
    pages = footer.last_page - footer.first_page + 1 if footer.records else 0
    if pages < 0 or len(bitmap) != (pages + 7) // 8:
        raise layer.damage(footer.bitmap.offset, f"the bitmap has {len(bitmap)} bytes")
    own = bytearray(len(bitmap))
    for page in seen.pages:
        index, bit = divmod(page - footer.first_page, 8)
        if not 0 <= index < len(own):
            raise layer.damage(footer.bitmap.offset, f"page {page} is outside of the bitmap")
        own[index] |= 1 << bit
    if own != bitmap:
        index = next(at for at in range(len(own)) if own[at] != bitmap[at])
        raise layer.damage(
            footer.bitmap.offset,
            f"the bitmap differs from the records near page {footer.first_page + 8 * index}",
        )


def _check_counts(layer: Layer, seen: Seen, commits: list[tuple[int, int]]) -> None:
    footer = layer.footer
    offset = layer.file.size - FOOTER.size
    if footer.kind not in LAYER_KINDS:
        raise layer.damage(offset, f"the footer says kind {footer.kind}")
    if footer.records != seen.records:
        raise layer.damage(
            offset, f"there are {seen.records} records, the footer says {footer.records}"
        )
    first, last = footer.first_lsn, footer.last_lsn
    if seen.last is not None:
        if (first, last) != (seen.first_lsn, seen.last_lsn):
            raise layer.damage(
                offset,
                f"LSNs are {seen.first_lsn}..{seen.last_lsn}, the footer says {first}..{last}",
            )
        begins = seen.first_page == footer.first_page or footer.kind == BASE
        if not begins or seen.last.page != footer.last_page:
            raise layer.damage(offset, "the footer says other pages than there are")
    elif commits and (first, last) != (commits[0][0], commits[-1][0]):
        raise layer.damage(offset, "the footer says other LSNs than those of the commits")
    if footer.complete < footer.last_lsn:
        raise layer.damage(offset, f"complete up to {footer.complete}, but holds LSN {last}")
    if footer.kind == DELTA and sorted(seen.commits) != commits:
        raise layer.damage(footer.commits.offset, "the commits are not those of the records")
