"""It gets killed: ``python -m tests.crash.sql_writer PATH SEED GROUP_BYTES FIRST...``.

One thread for each FIRST, which is the number of the step that it begins with. Each step leaves its
number in the thread's row of `progress`, and everywhere else where it writes, so that a step which
is there in part is seen. Acknowledgements are lines ``thread step``.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import aurora_engine as aurora

PAGE_BYTES = 4096
ROWS = 6
BIG_ROWS = 40
BIG_BYTES = 9_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (thread INTEGER PRIMARY KEY, step, beside, big);
CREATE TABLE IF NOT EXISTS rows (thread, number, step, UNIQUE (thread, number));
CREATE TABLE IF NOT EXISTS big (thread, number, step, filling, PRIMARY KEY (thread, number));
CREATE TABLE IF NOT EXISTS second.progress (thread INTEGER PRIMARY KEY, step);
"""


def connect(db: aurora.Database) -> Any:
    """A connection to both databases, whose cache spills soon."""
    conn = aurora.connect(db, isolation_level=None, timeout=60)
    conn.execute("ATTACH 'file:second' AS second")
    conn.execute("PRAGMA cache_size = 20")
    return conn


def run(conn: Any, thread: int, step: int, kind: float) -> None:
    """One step, as one transaction."""
    if kind < 0.4:
        conn.execute(
            "INSERT INTO progress(thread, step) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET step = excluded.step",
            (thread, step),
        )
        return
    if kind > 0.97:
        conn.execute("VACUUM")
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("INSERT OR IGNORE INTO progress(thread) VALUES (?)", (thread,))
    conn.execute("UPDATE progress SET step = ? WHERE thread = ?", (step, thread))
    if kind < 0.65:
        conn.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", [(thread, n, step) for n in range(ROWS)]
        )
    elif kind < 0.85:
        conn.execute("INSERT OR REPLACE INTO second.progress VALUES (?, ?)", (thread, step))
        conn.execute("UPDATE progress SET beside = ? WHERE thread = ?", (step, thread))
    else:
        conn.executemany(
            "INSERT OR REPLACE INTO big VALUES (?, ?, ?, zeroblob(?))",
            [(thread, n, step, BIG_BYTES + step % 700) for n in range(BIG_ROWS)],
        )
        conn.execute("UPDATE progress SET big = ? WHERE thread = ?", (step, thread))
    conn.execute("COMMIT")


def work(db: aurora.Database, seed: int, thread: int, first: int) -> Iterator[int]:
    """The endless work of one thread on a connection of its own: the number of each step done."""
    conn = connect(db)
    for step in count(first):
        run(conn, thread, step, random.Random(f"{seed}/{thread}/{step}").random())
        yield step


def _acknowledge(db: aurora.Database, seed: int, thread: int, first: int) -> None:
    for step in work(db, seed, thread, first):
        os.write(1, b"%d %d\n" % (thread, step))


def main() -> None:
    """Writes until it is killed."""
    path, seed, group_bytes, *firsts = sys.argv[1:]
    db = aurora.open(path, page_bytes=PAGE_BYTES, protection_group_bytes=int(group_bytes))
    connect(db).executescript(SCHEMA)
    os.write(1, b"open\n")
    threads = [
        threading.Thread(target=_acknowledge, args=(db, int(seed), thread, int(first)))
        for thread, first in enumerate(firsts)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    # Only an error ends a thread: let the killer see it instead of a quiet end.
    os._exit(1)


if __name__ == "__main__":
    main()
