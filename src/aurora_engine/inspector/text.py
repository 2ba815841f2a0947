"""Facts as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from .facts import Facts

Show = Callable[[Facts], Iterator[str]]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def when(time_us: int | None) -> str:
    """A time for people."""
    if not time_us:
        return "-"
    try:
        return (EPOCH + timedelta(microseconds=time_us)).isoformat()
    except OverflowError:
        return f"{time_us} us"


def size(count: int) -> str:
    """A number of bytes for people."""
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def lines(facts: Facts) -> Iterator[str]:
    """The lines of a report."""
    if "page" in facts:
        yield from _page(facts)
    elif "records" in facts:
        yield from _records(facts)
    else:
        yield from _WHOLE[facts["kind"]](facts)
    for note in facts["notes"]:
        yield f"note: {note}"
    for found in facts["damage"]:
        at = "" if found["offset"] is None else f" at {found['offset']}"
        yield f"damage: {found['file']}{at}: {found['what']}"
    if not {"page", "records"} & facts.keys():
        yield _verdict(facts)


def _verdict(facts: Facts) -> str:
    counts = facts["checked"]
    read = (
        f"{counts['files']} files, {size(counts['bytes'])}, {counts['frames']:,} frames, "
        f"{counts['records']:,} records"
    )
    pages = f", {counts['pages']:,} pages compared" if facts.get("compared") else ""
    verdict = "no damage" if facts["sound"] else f"{len(facts['damage'])} damages"
    return f"{verdict} in {read}{pages}"


def _volume(facts: Facts) -> Iterator[str]:
    yield from _of("metadata", _metadata)(facts)
    for segment in facts["segments"]:
        yield from _segment(segment)
    for database in facts["databases"] or ():
        yield (
            f"SQL database {database['name']}: {database['pages']:,} pages, "
            f"in {database['extents']:,} extents; "
            f"id {database['table']}, map at page {database['root']}"
        )


def _of(name: str, show: Show) -> Show:
    """Shows one of the facts, where damage did not keep it from being read."""
    return lambda facts: iter(()) if facts[name] is None else show(facts[name])


def _metadata(facts: Facts) -> Iterator[str]:
    yield f"volume {facts['volume_id']}, revision {facts['revision']}"
    zones = ", ".join(f"{name} in {folder}" for name, folder in facts["zones"])
    yield f"  zones {zones}; {facts['copies_per_zone']} copies in each"
    yield (
        f"  {facts['groups']} groups of {facts['group_pages']:,} pages of {facts['page_bytes']} "
        f"bytes; made {when(facts['created_us'])}"
    )
    history = facts["history_bytes"]
    limit = "" if history is None else f", at most {size(history)}"
    yield f"  history of {facts['backtrack_window_s']:g} s{limit}"
    if facts["parent_id"] is not None:
        yield f"  a clone of volume {facts['parent_id']} at {facts['parent_lsn']}"


def _segment(facts: Facts) -> Iterator[str]:
    zone = "" if facts["zone"] is None else f"zone {facts['zone']} "
    yield f"segment {facts['path']}"
    yield (
        f"  {zone}group {facts['group']} copy {facts['copy']}: epoch {facts['epoch']}, "
        f"SCL {facts['scl']}, VDL {facts['vdl']}, flushed {facts['flushed']}, "
        f"horizon {facts['horizon']}"
    )
    yield (
        f"  manifest edition {facts['edition']}: base {facts['base']}, proven {facts['proven']}; "
        f"hot {facts['hot_frames']:,} frames with {facts['hot_records']:,} records"
    )
    yield from _lists(facts)
    for extent in facts["extents"]:
        lsns = ""
        if extent["frames"]:
            lsns = f", LSN {extent['first_lsn']} to {extent['last_lsn']}"
        stale = f", {extent['stale_frames']} stale" if extent["stale_frames"] else ""
        frames = f"{extent['frames']:,} frames"
        yield f"  {extent['file']}: {size(extent['size'])}, {frames}{lsns}{stale}"


def _manifest(facts: Facts) -> Iterator[str]:
    yield f"manifest of group {facts['group']} copy {facts['copy']} of volume {facts['volume']}"
    yield (
        f"  edition {facts['edition']}, epoch {facts['epoch']}, base {facts['base']}, flushed "
        f"{facts['flushed']}, proven {facts['proven']}, VDL {facts['vdl']}, horizon "
        f"{facts['horizon']}"
    )
    yield (
        f"  {facts['copies']} copies of {facts['group_pages']:,} pages of {facts['page_bytes']} "
        f"bytes; replay from extent {facts['replay_sequence']} at {facts['replay_offset']}; next "
        f"layer {facts['next_layer']}"
    )
    yield from _lists(facts)


def _lists(facts: Facts) -> Iterator[str]:
    for rewind in facts["rewinds"]:
        who = f" by {rewind['who']}" if rewind["who"] else ""
        yield (
            f"  {rewind['kind']} from {rewind['from']} to {rewind['to']}, "
            f"{when(rewind['time_us'])}{who}, {rewind['lost_commits']} commits lost"
        )
    for layer in facts["layers"]:
        yield f"  {_listed(layer)}"


def _listed(facts: Facts) -> str:
    name = facts["file"] or "no file"
    tier = f" tier {facts['tier']}" if facts["kind"] == "delta" else ""
    held = ""
    if facts["kind"] != "chronicle":
        held = (
            f", pages {facts['first_page']} to {facts['last_page']}, {facts['records']:,} records"
        )
    commits = ""
    if facts["commits"]:
        commits = (
            f", {facts['commits']:,} commits {when(facts['first_time'])} to "
            f"{when(facts['last_time'])}"
        )
    live = f", {size(facts['live'])} live" if facts["kind"] == "base part" else ""
    return (
        f"{name}: {facts['kind']}{tier}, {size(facts['size'])}{live}{held}, LSN "
        f"{facts['first_lsn']} to {facts['last_lsn']}, complete {facts['complete']}{commits}, "
        f"origin {facts['origin'][:8]}"
    )


def _log(facts: Facts) -> Iterator[str]:
    extent = facts["extent"]
    if extent is None:
        return
    yield f"{extent['file']}: {size(extent['size'])}, frames up to LSN {extent['stale']} are stale"
    for frame in facts["frames"]:
        stale = ", stale" if frame["stale"] else ""
        problem = f", {frame['problem']}" if frame["problem"] else ""
        yield (
            f"  at {frame['offset']}: LSN {frame['first']} to {frame['last']} behind "
            f"{frame['prev']}, {frame['records']} records in {frame['bytes']} bytes, epoch "
            f"{frame['epoch']}, VDL {frame['vdl']}, {when(frame['time_us'])}{stale}{problem}"
        )


def _layer(facts: Facts) -> Iterator[str]:
    layer = facts["layer"]
    if layer is None:
        return
    yield (
        f"layer {layer['number']} of group {layer['group']} of volume {layer['volume']}, pages of "
        f"{layer['page_bytes']} bytes"
    )
    yield (
        f"  {layer['kind']}, tier {layer['tier']}, {size(layer['size'])}; pages "
        f"{layer['first_page']} to {layer['last_page']}, LSN {layer['first_lsn']} to "
        f"{layer['last_lsn']}, complete {layer['complete']}"
    )
    yield (
        f"  {layer['records']:,} records in {layer['data_blocks']} blocks under "
        f"{layer['index_blocks']} index blocks; bitmap of {layer['bitmap_bytes']} bytes"
    )
    yield (
        f"  {layer['commits']:,} commits {when(layer['first_time'])} to {when(layer['last_time'])}"
    )


def _records(facts: Facts) -> Iterator[str]:
    for record in facts["records"]:
        commit = record["commit_time_us"]
        ends = "" if commit is None else f", commit {when(commit)}"
        yield (
            f"page {record['page']} LSN {record['lsn']} behind {record['prev']} at "
            f"{record['offset']}: {record['operation']}{ends}"
        )


def _page(facts: Facts) -> Iterator[str]:
    page = facts["page"]
    if page is None:
        yield f"page {facts['page_id']} was not written up to {facts['at']}"
        return
    yield (
        f"page {page['page']} at {page['at']}: {page['type']}, level {page['level']}, LSN "
        f"{page['lsn']}, owner {page['owner']}, from {', '.join(facts['copies'])}"
    )
    yield (
        f"  {page['slots']} slots, heap from {page['heap']}, {page['garbage']} bytes of garbage, "
        f"link {page['link']}, count {page['count']}"
    )
    for line in page["contents"]:
        yield f"  {line}"


_WHOLE: dict[str, Show] = {
    "volume": _volume,
    "segment": _of("segment", _segment),
    "manifest": _of("manifest", _manifest),
    "metadata": _of("metadata", _metadata),
    "log": _log,
    "layer": _layer,
}
