"""``aurora-engine inspect`` and SQL databases: a second reader finds what SQLite was shown."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.volumes import fill, seeded, segment_folder

import aurora_engine as aurora
from aurora_engine.inspector.command import Request, inspect
from aurora_engine.inspector.damage import Damage, Findings
from aurora_engine.inspector.databases import Database, View, read_databases
from aurora_engine.inspector.pages import Page, Refused
from aurora_engine.inspector.records import EDIT, Record
from aurora_engine.inspector.segments import Segment
from aurora_engine.inspector.text import lines

GROUP_PAGES = 64
HEADER_COUNTERS = (slice(24, 28), slice(92, 96))


def change(connection: aurora.Connection, rng: random.Random) -> None:
    """Something random in one transaction."""
    connection.execute("CREATE TABLE IF NOT EXISTS t(k INTEGER PRIMARY KEY, v)")
    connection.execute("CREATE INDEX IF NOT EXISTS i ON t(v)")
    choice = rng.random()
    rows = [(rng.randrange(3000), rng.randbytes(rng.randrange(400))) for _ in range(200)]
    if choice < 0.7:
        connection.executemany("INSERT OR REPLACE INTO t VALUES (?, ?)", rows)
    elif choice < 0.9:
        connection.execute("DELETE FROM t WHERE k % 3 = ?", (rng.randrange(3),))
    else:
        connection.execute("INSERT INTO t(v) VALUES (zeroblob(200000))")
    connection.commit()
    if choice > 0.95:
        connection.execute("VACUUM")


def without_counters(content: bytes) -> bytes:
    """A file of SQLite's without the numbers that are made up for each connection."""
    changed = bytearray(content)
    for field in HEADER_COUNTERS:
        changed[field] = bytes(4)
    return bytes(changed)


def view_of(volume: Path, moment: int, groups: int, rng: random.Random) -> View:
    return View(
        {
            group: Segment(segment_folder(volume, rng.randrange(6), group), Findings())
            for group in range(groups)
        },
        moment,
    )


def built(view: View, database: Database) -> bytes:
    """The same file from the inspector's pages."""
    content = bytearray(database.pages * view.page_bytes)
    for key, first in view.entries(database.root, database.table, "the map"):
        if key == b"":
            continue
        start = int.from_bytes(key, "big") * 8
        for number, page_id in enumerate(view.run(int.from_bytes(first, "little"), 8), start):
            page = view.page(page_id) if number < database.pages else None
            if page is not None and (page.type, page.header()[8]) == (6, database.table):
                at = number * view.page_bytes
                content[at : at + view.page_bytes - 56] = page.bytes[56:]
    return without_counters(bytes(content))


@pytest.mark.parametrize("page_bytes", [4096, 8192])
def test_databases_as_sqlite_sees_them(tmp_path: Path, page_bytes: int) -> None:
    """Every database, now and then, byte by byte; in one group, and in many small ones."""
    rng = seeded(f"databases {page_bytes}")
    volume = tmp_path / "volume"
    options: dict[str, Any] = {"page_bytes": page_bytes}
    if page_bytes == 4096:
        options["protection_group_bytes"] = GROUP_PAGES * page_bytes
    moments: list[tuple[int, dict[str, bytes]]] = []
    with aurora.open(volume, **options) as db:
        fill(db, rng)
        db.table("second")
        connections = {name: aurora.connect(db, name=name) for name in ("first", "second", "größe")}
        for step in range(18):
            name = sorted(connections)[step % 3 if step < 3 else rng.randrange(3)]
            change(connections[name], rng)
            if step % 6 == 5:
                files = {
                    name: without_counters(connections[name].serialize()) for name in db.sql.names()
                }
                moments.append((db.durable_lsn, files))
                db.put(b"between %d" % step, b"")
        connections.pop("first").close()
        db.sql.drop("first")
        names = db.sql.names()
        for connection in connections.values():
            connection.close()
        moment = db.durable_lsn
    facts = inspect(Request(path=volume, compare=True))
    assert facts["sound"], facts["damage"]
    assert [database["name"] for database in facts["databases"]] == names
    assert sum("SQL database" in line for line in lines(facts)) == len(names)
    groups = facts["metadata"]["groups"]
    for lsn, files in moments:
        then = inspect(Request(path=volume, compare=True, at=lsn))
        assert then["sound"], then["damage"]
        view = view_of(volume, lsn, groups, rng)
        databases = read_databases(view, Findings())
        assert {database.name: built(view, database) for database in databases} == files
    assert moment > moments[-1][0]


# ---- what is not sound


def a_volume(path: Path) -> View:
    """A volume with two databases, at its end."""
    rng = seeded("a volume")
    with aurora.open(path) as db:
        for name in ("first", "second"):
            with aurora.connect(db, name=name) as connection:
                for _ in range(4):
                    change(connection, rng)
            connection.close()
        moment = db.durable_lsn
    return view_of(path, moment, 1, rng)


def spoiling(page_id: int, at: int, content: bytes) -> Callable[[View, int], Page | None]:
    """`View.page` with one page changed."""
    original = View.page

    def page(view: View, wanted: int) -> Page | None:
        made = original(view, wanted)
        if made is not None and wanted == page_id:
            made.bytes[at : at + len(content)] = content
        return made

    return page


def test_databases_that_contradict_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of contradiction is named, with the database that has it."""
    view = a_volume(tmp_path / "volume")
    first, second = read_databases(view, Findings())
    top, other = view.page(first.root), view.page(second.root)
    catalog = view.page(2)
    assert top is not None
    assert other is not None
    assert catalog is not None
    extents = [top.slot(slot) for slot in range(top.slots)]
    size_at, extent_at = (offset + 2 for offset, _ in extents[:2])
    page_one = int.from_bytes(top.cell(1)[6:], "little")
    entry = catalog.slot(catalog.slots - 2)[0] + 2
    spoiled = [
        (2, entry + 2 + 1 + len("first"), b"\1\0\0\0", "says table 1"),
        (first.root, 36, b"\7\7\7\7", "no page of its tree"),
        (first.root, 24, b"\6", "no page of its tree"),
        (first.root, 48, b"\1\1", "entries that it counts"),
        (first.root, size_at + 2, b"\1\0\0\0", "lies behind its 1 pages"),
        (first.root, extent_at + 2, b"\1\1\1\1", "behind its"),
        (first.root, extent_at + 6, b"\2\0\0\0\0\0\0\0", "no first page|not its first"),
        (first.root, extent_at + 6, b"\xff" * 8, "no group"),
        (second.root, other.slot(1)[0] + 8, page_one.to_bytes(8, "little"), "'first' as well"),
        (page_one, 24, b"\0", "not its first page"),
        (page_one, 40, b"\1", "link or a count"),
        (page_one, 56, b"sqlite", "does not begin"),
        (page_one, 56 + 20, b"\0", "does not begin"),
        (page_one, 56 + 24, b"\1", "change counter"),
        (page_one, 56 + 31, b"\1", "counts other"),
    ]
    for page_id, at, content, message in spoiled:
        findings = Findings()
        with monkeypatch.context() as patch:
            patch.setattr(View, "page", spoiling(page_id, at, content))
            read_databases(view, findings)
        assert len(findings.damage) == 1, (message, findings.damage)
        with pytest.raises(Damage, match=message):
            raise findings.damage[0]
        name = "second" if page_id == second.root else "first"
        assert name in findings.damage[0].file or "group" in message


def test_hostile_edits_are_refused() -> None:
    rng = seeded("hostile edits")
    refused = 0
    for _ in range(3000):
        page = Page(4096)
        page.bytes[24] = 6
        page.bytes[28:32] = (4096).to_bytes(4, "little")
        body = b"".join(
            bytes([rng.choice((1, 1, 2, 2, 2, 3))])
            + rng.choice((50, 56, 60, 4000, 65535)).to_bytes(2, "little")
            + rng.choice((0, 1, 4, 30, 4040)).to_bytes(2, "little")
            + rng.randbytes(rng.choice((0, 2, 4, 30)))
            for _ in range(rng.randrange(3))
        )
        try:
            page.apply(Record(32 + len(body), EDIT, 0, 0, 1, 0, 0, body, None))
            page.check()
            assert len(page.bytes) == 4096
        except Refused:
            refused += 1
    assert 1000 < refused < 3000
