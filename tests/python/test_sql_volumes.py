"""Volumes that are open because connections name their directory: the last one closes them."""

from __future__ import annotations

import gc
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora
from aurora_engine.sql import volumes as module


def made(path: Path, **options: Any) -> aurora.sql.Connection:
    conn = aurora.connect(path, **options)
    conn.execute("CREATE TABLE t (x)")
    conn.commit()
    return conn


def test_every_connection_keeps_it_open(tmp_path: Path) -> None:
    conn = made(tmp_path / "v")
    then, beside = conn.at(conn.lsn), aurora.connect(conn.database, name="beside")
    conn.close()
    assert then.execute("SELECT x FROM t").fetchall() == []
    then.close()
    beside.execute("CREATE TABLE t (x)")
    beside.commit()
    assert not beside.database.closed
    beside.close()
    with aurora.open(tmp_path / "v") as db:
        for _ in range(2):
            aurora.connect(db).close()
        assert db.sql.names() == ["beside", "main"]


def test_who_comes_while_the_last_one_leaves_opens_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, has_begun, goes_on = aurora.Database.close, threading.Event(), threading.Event()

    def closes_slowly(db: aurora.Database) -> None:
        has_begun.set()
        assert goes_on.wait(10)
        close(db)

    def comes() -> None:
        with closing(aurora.connect(tmp_path / "v")) as conn:
            threads[0].join(10)
            rows.append(conn.execute("SELECT count(*) FROM t").fetchone())

    rows: list[tuple[int]] = []
    conn = made(tmp_path / "v", check_same_thread=False)
    monkeypatch.setattr(aurora.Database, "close", closes_slowly)
    threads = [threading.Thread(target=conn.close), threading.Thread(target=comes)]
    threads[0].start()
    assert has_begun.wait(10)
    threads[1].start()
    threads[1].join(0.1)
    goes_on.set()
    for thread in threads:
        thread.join(10)
    assert rows == [(0,)]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_one_that_is_collected_while_another_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """By the thread that opens, or by another, which does not wait: who opens may wait for it."""
    open_database = module.open_database

    def collects(*arguments: Any, **options: Any) -> aurora.Database:
        if elsewhere:
            collector = threading.Thread(target=gc.collect, daemon=True)
            collector.start()
            collector.join(10)
            assert not collector.is_alive()
        gc.collect()
        return open_database(*arguments, **options)

    circle: list[Any] = [made(tmp_path / "left")]
    circle.append(circle)
    database = circle[0].database
    del circle
    monkeypatch.setattr(module, "open_database", collects)
    aurora.connect(tmp_path / "other").close()
    monkeypatch.undo()
    assert database.closed
    with aurora.open(tmp_path / "left") as db:
        assert db.sql.names() == ["main"]
