"""What `inspect` does, from a request to facts. Both its front ends call `inspect`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from . import volumes
from .damage import Damage, Findings, Place, WrongUse
from .databases import View, read_databases
from .facts import (
    Facts,
    damage_facts,
    extent_facts,
    frame_facts,
    layer_facts,
    manifest_facts,
    metadata_facts,
    page_facts,
    segment_facts,
)
from .hot_log import Extent, extent_number, read_extent
from .layer_check import check_layer, check_listed, check_sum
from .layers import Layer, layer_number
from .manifest import Manifest, read_manifest
from .metadata import NAME, read_metadata
from .records import Record, record_facts
from .segments import MANIFEST_NAME, Segment

SOUND, USAGE, DAMAGED = 0, 2, 3


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to inspect, and how.

    Attributes
    ----------
    path : Path
        Folder of a volume or a segment, or one file of either.
    records : bool
        List the records of a file.
    page : int or None
        Build this page; with ``records`` list only its records.
    at : int or None
        The moment to build pages at; None for the newest.
    limit : int or None
        At most so many records or cells; None for all.
    compare : bool
        Build every page from every copy, and compare.
    """

    path: Path
    records: bool = False
    page: int | None = None
    at: int | None = None
    limit: int | None = None
    compare: bool = False


def bytes_to_read(path: Path) -> int:
    """About how many bytes an inspection will read, for a progress bar."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*-*") if file.is_file())
    except OSError:
        return 0


def inspect(request: Request, advance: Callable[[int], None] = lambda _amount: None) -> Facts:
    """Reads and checks what the request names.

    Raises
    ------
    WrongUse
        If it cannot be done with this path.
    """
    findings = Findings(advance=advance)
    kind, run = _choose(request)
    facts: Facts = {"kind": kind, "path": str(request.path)}
    with findings.catching():
        for name, value in run(request, findings):
            facts[name] = value
    for name in EMPTY[kind]:
        facts.setdefault(name, EMPTY[kind][name])
    counts = ("files", "bytes", "frames", "records", "commits", "pages")
    return facts | {
        "compared": request.compare,
        "checked": {name: findings.counts[name] for name in counts},
        "notes": findings.notes,
        "damage": [damage_facts(found) for found in findings.damage],
        "sound": not findings.damage,
    }


# What a report has where damage kept the rest from being read.
EMPTY: dict[str, dict[str, Any]] = {
    "volume": {"metadata": None, "segments": [], "databases": None},
    "segment": {"segment": None},
    "manifest": {"manifest": None},
    "metadata": {"metadata": None},
    "log": {"extent": None, "frames": []},
    "layer": {"layer": None},
}
Run = Callable[[Request, Findings], Iterator[tuple[str, Any]]]


def _choose(request: Request) -> tuple[str, Run]:
    """What lies at the path, and what to do with it."""
    path = request.path
    kind = _kind_of(path)
    if request.at is not None and request.page is None and not request.compare:
        raise WrongUse("--at is the moment to build pages at: give it with --page or --compare")
    if request.compare and (kind != "volume" or request.page is not None):
        raise WrongUse("--compare builds every page from every copy: give it the volume alone")
    if request.records:
        if kind not in ("log", "layer"):
            raise WrongUse(f"--records lists those of one file, a log-… or layer-…, not of {path}")
        return kind, _list_records
    if request.page is not None:
        return kind, _show_page
    runs: dict[str, Run] = {
        "volume": _volume,
        "segment": _segment,
        "manifest": _manifest,
        "metadata": _metadata,
        "log": _log,
        "layer": _layer,
    }
    return kind, runs[kind]


def _kind_of(path: Path) -> str:
    if not path.exists():
        raise WrongUse(f"there is no {path}")
    if path.is_dir():
        if (path / MANIFEST_NAME).exists() or path.name.startswith("group-"):
            return "segment"
        if volumes.is_volume(path):
            return "volume"
        raise WrongUse(f"{path} holds neither a volume nor a segment")
    if path.name in (NAME, MANIFEST_NAME):
        return {NAME: "metadata", MANIFEST_NAME: "manifest"}[path.name]
    if extent_number(path) is not None:
        return "log"
    if layer_number(path) is not None:
        return "layer"
    raise WrongUse(
        f"{path} is no file of a volume: those are {NAME}, {MANIFEST_NAME}, log-… and layer-…"
    )


# ---- folders


@contextmanager
def _opened(request: Request, findings: Findings) -> Iterator[list[tuple[Segment, str]]]:
    """The segments of a volume that can be opened, with their zones."""
    with ExitStack() as stack:
        metadata = volumes.find_metadata(request.path, findings)
        opened = []
        for place in volumes.copies_of(request.path, metadata):
            segment = volumes.open_segment(place, metadata, findings)
            if segment is not None:
                opened.append((stack.enter_context(segment), place.zone))
        yield opened


def _volume(request: Request, findings: Findings) -> Iterator[tuple[str, Any]]:
    root = request.path
    with volumes.shared_lock(root, findings):
        metadata = volumes.find_metadata(root, findings)
        yield "metadata", metadata_facts(metadata)
        shown: list[Facts] = []
        yield "segments", shown
        volumes.check_leftovers(root, metadata, findings)
        places = list(volumes.copies_of(root, metadata))
        for group in range(metadata.groups):
            with ExitStack() as stack:
                segments = []
                for place in places[group * metadata.copies : (group + 1) * metadata.copies]:
                    segment = volumes.open_segment(place, metadata, findings)
                    if segment is not None:
                        segments.append(stack.enter_context(segment))
                        segment.check(findings)
                        shown.append(segment_facts(segment, place.zone))
                volumes.compare_layers(segments, findings)
                if request.compare and segments:
                    volumes.compare_pages(segments, request.at, findings)
        if request.compare:
            yield "databases", _databases(request, metadata.groups, findings)


def _databases(request: Request, groups: int, findings: Findings) -> list[Facts] | None:
    """The SQL databases, checked; None when a group is lost."""
    with _opened(request, Findings()) as opened:  # what is wrong with the copies was noted before
        segments = [segment for segment, _ in opened]
        chosen = {}
        for group in range(groups):
            copies = [segment for segment in segments if segment.manifest.group == group]
            if copies:
                chosen[group] = max(
                    volumes.moment_of_all(copies)[1], key=lambda segment: segment.log.scl
                )
        if len(chosen) < groups:
            return None
        newest = volumes.moment_of_volume(list(chosen.values()))
        moment = newest if request.at is None else request.at
        try:
            found = read_databases(View(chosen, moment), findings)
        except WrongUse as refused:
            findings.notes.append(f"the SQL databases were not checked: {refused}")
            return None
        return [database._asdict() for database in found]


def _segment(request: Request, findings: Findings) -> Iterator[tuple[str, Any]]:
    with Segment(request.path, findings) as segment:
        segment.check(findings)
        yield "segment", segment_facts(segment, None)


def _show_page(request: Request, findings: Findings) -> Iterator[tuple[str, Any]]:
    page_id = request.page
    assert page_id is not None
    yield "page_id", page_id
    yield "page", None
    with ExitStack() as stack:
        if volumes.is_volume(request.path):
            opened = [segment for segment, _ in stack.enter_context(_opened(request, findings))]
            groups = sorted({segment.manifest.group for segment in opened})
            pages = opened[0].manifest.group_pages if opened else 1
            if opened and page_id // pages not in groups:
                raise WrongUse(
                    f"the volume has groups {groups} of {pages} pages, no page {page_id}"
                )
            opened = [segment for segment in opened if segment.manifest.group == page_id // pages]
        else:
            folder = request.path if request.path.is_dir() else request.path.parent
            opened = [stack.enter_context(Segment(folder, findings))]
        if not opened:
            return
        newest, complete = volumes.moment_of_all(opened)
        moment = newest if request.at is None else request.at
        yield "at", moment
        yield "copies", [str(segment.folder) for segment in complete]
        built = volumes.compare_page(complete, page_id, moment, findings)
        if built is not None:
            yield "page", page_facts(built, moment, request.limit)


# ---- files


def _metadata(request: Request, findings: Findings) -> Iterator[tuple[str, Any]]:
    findings.counts["files"] += 1
    yield "metadata", metadata_facts(read_metadata(request.path))


def _manifest(request: Request, findings: Findings) -> Iterator[tuple[str, Any]]:
    findings.counts["files"] += 1
    yield "manifest", manifest_facts(read_manifest(request.path))


def _beside(request: Request, findings: Findings) -> Manifest | None:
    """The manifest in the file's folder; the file can be read without it."""
    try:
        return read_manifest(request.path.parent / MANIFEST_NAME)
    except Damage as found:
        findings.notes.append(f"read without its manifest: {found}")
        return None


def _extent(request: Request, findings: Findings) -> Extent:
    extent = read_extent(request.path, _beside(request, findings), findings)
    if extent.problem is not None:
        findings.damage.append(extent.problem)
    good = [frame.offset for frame in extent.live if frame.problem is None]
    broken = extent.broken | {
        frame.offset: frame.problem for frame in extent.live if frame.problem is not None
    }
    for offset, found in sorted(broken.items()):
        if good and offset < good[-1]:
            findings.damage.append(found)
        else:
            findings.notes.append(
                f"{found}: a write that was cut short, or damage; inspect {request.path.parent} to "
                "tell"
            )
    return extent


def _log(request: Request, findings: Findings) -> Iterator[tuple[str, Any]]:
    extent = _extent(request, findings)
    yield "extent", extent_facts(extent)
    yield "frames", [frame_facts(frame) for _, frame in sorted(extent.frames.items())]


def _layer(request: Request, findings: Findings) -> Iterator[tuple[str, Any]]:
    manifest = _beside(request, findings)
    with Layer(request.path) as layer:
        facts = layer_facts(layer)
        yield "layer", facts
        before = len(findings.damage)
        number = layer_number(request.path)
        if layer.header.number != number:
            findings.add(layer.name, 0, f"the layer's header names it {layer.header.number:016x}")
        check_layer(layer, manifest, findings)
        findings.advance(layer.file.size)
        with findings.catching():
            facts["index_blocks"] = len(layer.root())
            facts["data_blocks"] = len(layer.pointers())
        if manifest is None:
            return
        entries = [listed for listed in manifest.layers if listed.number == number]
        if not entries or not entries[0].size:
            findings.notes.append(f"{layer.name}: the manifest does not list it")
            return
        yield "origin", entries[0].origin.hex()
        yield "live", entries[0].live
        check_listed(layer, entries[0], manifest, findings)
        if len(findings.damage) == before:
            check_sum(layer, entries[0], findings)


def _list_records(request: Request, findings: Findings) -> Iterator[tuple[str, Any]]:
    found = _layer_records if layer_number(request.path) is not None else _log_records
    chosen = (
        (record, place)
        for record, place in found(request, findings)
        if request.page is None or record.page == request.page
    )
    shown: list[Facts] = []
    yield "records", shown
    for record, place in islice(chosen, request.limit):
        shown.append({"offset": place.offset} | record_facts(record))


def _log_records(request: Request, findings: Findings) -> Iterator[tuple[Record, Place]]:
    for frame in _extent(request, findings).live:
        for record in frame.records:
            yield record, Place(frame.file, frame.offset)


def _layer_records(request: Request, findings: Findings) -> Iterator[tuple[Record, Place]]:
    with Layer(request.path) as layer:
        if request.page is not None:
            yield from layer.records_of(request.page)
            return
        for pointer in layer.pointers():
            with findings.catching():
                for record in layer.read_records(pointer):
                    yield record, Place(layer.name, pointer.offset)
