"""Views of the past, backtracks both ways, retention, and what goes on across them."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.volumes import compact_all, segment_folder, until

import aurora_engine as aurora


def now() -> datetime:
    # A commit has its time to the microsecond; the next moment is a later one.
    time.sleep(0.002)
    return datetime.now(UTC)


# ---- views ----


def test_views_of_many_moments_at_once(db: aurora.Database) -> None:
    lsns = [db.put(b"n", b"%d" % n) for n in range(50)]
    views = [db.at(lsn) for lsn in lsns]
    db.put(b"n", b"later")
    assert [view[b"n"] for view in views] == [b"%d" % n for n in range(50)]
    assert [view.lsn for view in views] == lsns
    assert sorted(views, key=lambda view: view.time) == views
    for view in views:
        view.close()


def test_a_view_is_read_only_and_has_the_tables_of_then(db: aurora.Database) -> None:
    db.table("one")[b"k"] = b"v"
    lsn = db.table("two").put(b"k", b"w")
    db.drop_table("one")
    db.table("three")
    with db.at(lsn) as view:
        assert view.tables() == ["one", "two"]
        assert dict(view.table("one").scan()) == {b"k": b"v"}
        with pytest.raises(KeyError):
            view.table("three")
        assert not hasattr(view, "put")


def test_times_in_every_form(db: aurora.Database) -> None:
    db.put(b"k", b"1")
    first = now()
    time.sleep(0.5)
    db.put(b"k", b"2")
    for at in (first, first.astimezone(), first.astimezone().replace(tzinfo=None)):
        with db.at(at) as view:
            assert view[b"k"] == b"1", at
            assert view.time <= first
    with db.at(datetime.now(UTC) - first - timedelta(seconds=0.2)) as view:
        assert view[b"k"] == b"1"
    with db.at(timedelta(0)) as view:
        assert view[b"k"] == b"2"


def test_moments_that_cannot_be_seen(db: aurora.Database) -> None:
    db.put(b"k", b"v")
    for future in (
        db.durable_lsn + 1,
        datetime.now(UTC) + timedelta(minutes=1),
        timedelta(seconds=-1),
        -1,
    ):
        with pytest.raises(ValueError, match=r"future|negative"):
            db.at(future)
        with pytest.raises(ValueError, match=r"future|negative"):
            db.backtrack(future)
    for wrong in (True, "yesterday", 1.5, None):
        with pytest.raises(TypeError, match="LSN"):
            db.at(wrong)  # type: ignore[arg-type]
    with pytest.raises(aurora.SnapshotTooOldError, match="oldest moment"):
        db.at(datetime(2001, 1, 1, tzinfo=UTC))
    with pytest.raises(aurora.SnapshotTooOldError, match="oldest moment"):
        db.at(timedelta(days=10_000))


def test_there_is_no_moment_before_the_volume_was_made(db: aurora.Database) -> None:
    oldest = db.status().oldest_lsn
    db.put(b"k", b"v")
    assert 0 < oldest == db.status().oldest_lsn
    for lsn in (0, 1, oldest - 1):
        for go in (db.at, db.backtrack, lambda lsn: aurora.connect(db, as_of=lsn)):
            with pytest.raises(aurora.SnapshotTooOldError, match="before the volume") as refused:
                go(lsn)
            assert refused.value.lsn == oldest
    with db.at(oldest) as view, db.at(db.status().oldest_time) as same:
        assert (view.lsn, list(view.scan())) == (same.lsn, []) == (oldest, [])
    with aurora.connect(db, as_of=oldest) as past, pytest.raises(sqlite3.OperationalError):
        past.execute("CREATE TABLE t (x)")
    undo = db.backtrack(oldest).undo_lsn
    assert list(db.scan()) == []
    db.put(b"other", b"v")
    assert list(db.scan()) == [(b"other", b"v")]
    db.backtrack(undo)
    assert list(db.scan()) == [(b"k", b"v")]
    assert db.verify().ok


def test_a_commit_of_ones_own_need_not_be_durable_yet(db: aurora.Database, tmp_path: Path) -> None:
    for number in range(200):
        with db.begin() as txn:
            txn[b"n"] = b"%d" % number
            lsn = txn.commit(wait=False)
        if number % 3:
            with db.at(lsn) as view:
                assert view[b"n"] == b"%d" % number
        else:
            assert db.backtrack(lsn, dry_run=True).lost_commits == 0
    with db.clone(tmp_path / "clone", at=db.put(b"n", b"last")) as clone:
        assert clone[b"n"] == b"last"
    with aurora.open(tmp_path / "async", durability="async") as other:
        lsns = [other.put(b"n", b"%d" % number) for number in range(200)]
        with other.at(lsns[-1]) as view:
            assert view[b"n"] == b"199"
        with pytest.raises(ValueError, match="future"):
            other.at(lsns[-1] + 1)


def test_half_a_commit_is_never_seen(db: aurora.Database) -> None:
    first = db.put(b"a", b"1")
    with db.begin() as txn:
        for n in range(100):
            txn[b"%03d" % n] = b"x" * 500
        last = txn.commit()
    for lsn in range(first, last):
        with db.at(lsn) as view:
            assert len(view) == 1
    with db.at(last) as view:
        assert len(view) == 101


# ---- backtracks ----


def test_back_and_forth(db: aurora.Database) -> None:
    lsns = [db.put(b"n", b"%d" % n) for n in range(10)]
    point = db.backtrack(lsns[3])
    assert db[b"n"] == b"3"
    assert point.lost_commits == 6
    assert (point.to_lsn, point.undo_lsn, point.from_lsn) == (lsns[3], lsns[9], lsns[9])
    assert point.lsn == db.durable_lsn == lsns[9] + 1
    assert "@" in point.who
    assert abs(datetime.now(UTC) - point.time) < timedelta(seconds=10)
    other = db.put(b"n", b"other")
    forward = db.backtrack(point.undo_lsn)
    assert db[b"n"] == b"9"
    assert forward.lost_commits == 1
    db.backtrack(forward.undo_lsn)
    assert db[b"n"] == b"other"
    assert [each.to_lsn for each in db.history()] == [lsns[3], lsns[9], other]
    with db.at(lsns[7]) as view:
        assert view[b"n"] == b"7"
    assert db.verify().ok


def test_back_and_forth_without_a_commit_between(db: aurora.Database) -> None:
    lsns = [db.put(b"n", b"%d" % n) for n in range(5)]
    for turn in range(40):
        db.backtrack(lsns[turn % 5])
        assert db[b"n"] == b"%d" % (turn % 5)
    assert len(db.history()) == 40


def test_a_backtrack_lasts(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db") as db:
        lsns = [db.put(b"n", b"%d" % n) for n in range(10)]
        point = db.backtrack(lsns[3])
    for _ in range(2):
        with aurora.open(tmp_path / "db") as db:
            assert db[b"n"] == b"3"
            assert db.history() == [point]
            assert db.durable_lsn >= point.lsn
    with aurora.open(tmp_path / "db") as db:
        # Straight after opening, before anything was committed.
        second = db.backtrack(point.undo_lsn)
        assert db[b"n"] == b"9"
        db[b"m"] = b"new"
    with aurora.open(tmp_path / "db") as db:
        assert db.history() == [point, second]
        assert dict(db.scan()) == {b"n": b"9", b"m": b"new"}
        with db.at(lsns[5]) as view:
            assert view[b"n"] == b"5"


def test_a_dry_run_changes_nothing(db: aurora.Database) -> None:
    first = db.put(b"k", b"1")
    last = db.put(b"k", b"2")
    planned = db.backtrack(first, dry_run=True)
    assert planned.dry_run
    assert (planned.lost_commits, planned.from_lsn, planned.to_lsn) == (1, last, first)
    assert db[b"k"] == b"2"
    assert db.durable_lsn == last
    assert db.history() == []


def test_views_stay_and_running_transactions_conflict(db: aurora.Database) -> None:
    first = db.put(b"k", b"1")
    db.put(b"k", b"2")
    snapshot, view = db.snapshot(), db.at(first)
    scan = db.scan()
    running, reading = db.begin(), db.begin(read_only=True)
    running[b"j"] = running[b"k"]
    db.backtrack(first)
    db.put(b"k", b"3")
    assert (snapshot[b"k"], view[b"k"], reading[b"k"]) == (b"2", b"1", b"2")
    assert list(scan) == [(b"k", b"2")]
    with pytest.raises(aurora.ConflictError):
        running.commit()
    running = db.begin()
    running[b"x"] = b"y"
    db.backtrack(timedelta(0))
    with pytest.raises(aurora.ConflictError):
        running.commit()
    assert db.transact(lambda txn: txn[b"k"]) == b"3"
    for each in (snapshot, view):
        each.close()
    reading.rollback()


def test_table_handles_follow_the_name(db: aurora.Database) -> None:
    before = db.put(b"k", b"v")
    table = db.table("people")
    created = table.put(b"ada", b"Lovelace")
    db.backtrack(before)
    for use in (
        lambda: table.get(b"ada"),
        lambda: table.put(b"a", b"b"),
        lambda: len(table),
        lambda: list(table.scan()),
        lambda: table.put_many([(b"a", b"b")]),
        lambda: table.delete(b"a"),
    ):
        with pytest.raises(KeyError):
            use()
    db.table("others")[b"x"] = b"another table, made in this history first"
    assert db.tables() == ["others"]
    with pytest.raises(KeyError):
        table.get(b"x")
    db.table("people")[b"alan"] = b"Turing"
    assert dict(table.scan()) == {b"alan": b"Turing"}
    assert table.put_many([(b"grace", b"Hopper")]) == db.durable_lsn
    assert len(table) == 2
    db.backtrack(created)
    assert dict(table.scan()) == {b"ada": b"Lovelace"}
    table[b"ada"] = b"Countess"
    assert table[b"ada"] == b"Countess"
    assert b"ada" in table


def test_writers_go_on_while_it_is_backtracked(db: aurora.Database) -> None:
    """Nobody gets an error but a conflict, and nothing that was acknowledged after is lost."""
    first = db.put(b"start", b"0")
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(thread: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                db.put(b"%d/%d" % (thread, number % 50), b"%d" % number)
                db.transact(lambda txn: txn.put(b"last %d" % thread, b"%d" % number))  # noqa: B023
                db.get(b"start")
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    points = []
    for _ in range(10):
        time.sleep(0.03)
        points.append(db.backtrack(first))
    stop.set()
    for each in threads:
        each.join()
    assert not failures, failures
    assert db[b"start"] == b"0"
    assert sum(point.lost_commits for point in points) > 0
    for point in points[:-1]:
        with db.at(point.lsn) as view:
            assert dict(view.scan()) == {b"start": b"0"}
    assert db.verify().ok


def test_a_copy_that_was_away_hears_of_it(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db") as db:
        first = db.put(b"k", b"1")
        db.put(b"k", b"2")
        folder = segment_folder(tmp_path / "db", 5)
        folder.rename(tmp_path / "away")
        until(lambda: db.status().segments[5].state == "failed", "copy 5 is missed")
        db.backtrack(first)
        (tmp_path / "away").rename(folder)
        until(lambda: all(s.state == "ok" for s in db.status().segments), "copy 5 is back", 10)
        db[b"j"] = b"3"
    for copy in range(3):
        shutil.rmtree(segment_folder(tmp_path / "db", copy))
    with aurora.open(tmp_path / "db") as db:
        assert dict(db.scan()) == {b"k": b"1", b"j": b"3"}


def test_without_a_write_quorum_there_is_no_backtrack(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db") as db:
        first = db.put(b"k", b"1")
        db.put(b"k", b"2")
    for copy in range(3):
        segment_folder(tmp_path / "db", copy).rename(tmp_path / f"away {copy}")
    with aurora.open(tmp_path / "db") as db:
        with pytest.raises(aurora.QuorumLostError):
            db.backtrack(first)
        assert db[b"k"] == b"2"
        with db.at(first) as view:
            assert view[b"k"] == b"1"


def test_async_databases_too(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db", durability="async") as db:
        for n in range(1000):
            lsn = db.put(b"n", b"%d" % n)
            if n == 499:
                db.wait_durable(lsn)
                middle = lsn
        point = db.backtrack(middle)
        assert db[b"n"] == b"499"
        assert point.lost_commits == 500
        assert point.undo_lsn == lsn


# ---- one table ----


def test_restoring_one_table(db: aurora.Database) -> None:
    table = db.table("people")
    table.put_many((b"%03d" % n, b"then") for n in range(100))
    db[b"k"] = b"then"
    lsn = db.durable_lsn
    for n in range(0, 100, 3):
        del table[b"%03d" % n]
    table.put_many((b"%03d" % n, b"now") for n in range(50, 150) if n % 3)
    db[b"k"] = b"now"
    changed = db.restore_table("people", at=lsn)
    assert changed == len(
        [n for n in range(150) if (n % 3 == 0 and n < 100) or (n % 3 and n >= 50)]
    )
    assert list(table.scan()) == [(b"%03d" % n, b"then") for n in range(100)]
    assert db[b"k"] == b"now"
    assert db.restore_table("people", at=lsn) == 0
    db.drop_table("people")
    assert db.restore_table("people", at=lsn) == 100
    assert len(table) == 100
    with pytest.raises(KeyError):
        db.restore_table("nobody", at=lsn)
    assert db.tables() == ["people"]


# ---- retention ----


def test_no_window_keeps_only_the_present_and_open_views(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db", backtrack_window=timedelta(0)) as db:
        first = db.put(b"k", b"1")
        db.put(b"k", b"2")
        until(lambda: db.status().oldest_lsn == db.durable_lsn, "the horizon is at the present")
        with pytest.raises(aurora.SnapshotTooOldError, match=f"LSN {db.durable_lsn}") as refused:
            db.at(first)
        assert refused.value.lsn == db.durable_lsn
        with pytest.raises(aurora.SnapshotTooOldError):
            db.backtrack(first)
        assert db[b"k"] == b"2"
        with db.at(db.durable_lsn) as view:
            third = db.put(b"k", b"3")
            until(lambda: db.status().oldest_lsn == third, "the horizon has passed the view")
            db.compact()
            db.backtrack(view.lsn)
        assert db[b"k"] == b"2"
        db.compact()
        assert db[b"k"] == b"2"


def test_the_window_can_be_changed_and_lasts(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db") as db:
        first = db.put(b"k", b"1")
        pinned = db.at(first)
        db.put(b"k", b"2")
        db.set_backtrack_window(timedelta(0))
        assert db.status().oldest_lsn == db.durable_lsn
        db.compact()
        assert pinned[b"k"] == b"1"
        with db.at(first) as again:
            assert again[b"k"] == b"1"
        assert first in db.explain_retention().pins
        pinned.close()
        with pytest.raises(aurora.SnapshotTooOldError):
            db.at(first)
        db.set_backtrack_window(timedelta(hours=5))
        db.set_history_bytes(1 << 30)
        second = db.put(b"k", b"3")
        db.put(b"k", b"4")
        with db.at(second) as view:
            assert view[b"k"] == b"3"
        for wrong in (5, timedelta(seconds=-1)):
            with pytest.raises((TypeError, ValueError), match="backtrack_window"):
                db.set_backtrack_window(wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="history_bytes"):
            db.set_history_bytes(-1)
        db.compact()
    with aurora.open(tmp_path / "db") as db:
        status = db.status()
        assert status.backtrack_window == timedelta(hours=5)
        assert status.history_bytes == 1 << 30
        with db.at(second) as view:
            assert view[b"k"] == b"3"
        db.set_history_bytes(None)
    with aurora.open(tmp_path / "db", backtrack_window=timedelta(minutes=1)) as db:
        assert db.status().history_bytes is None
        assert db.status().backtrack_window == timedelta(minutes=1)


def test_the_real_window_is_reported(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db") as db:
        db.put(b"k", b"1")
        time.sleep(0.2)
        db.put(b"k", b"2")
        status = db.status()
        assert status.backtrack_window == timedelta(hours=72)
        assert timedelta(seconds=0.2) <= status.actual_backtrack_window < timedelta(minutes=1)
        assert status.oldest_time <= datetime.now(UTC) - status.actual_backtrack_window
        report = db.explain_retention()
        assert report.cause == "creation"
        db.set_backtrack_window(timedelta(seconds=0.1))
        until(
            lambda: (
                db.status().actual_backtrack_window
                < status.actual_backtrack_window + timedelta(seconds=0.2)
                and db.explain_retention().cause == "window"
            ),
            "the window has moved",
        )


def test_explaining_retention_adds_up(db: aurora.Database) -> None:
    for turn in range(5):
        db.put_many((b"%04d" % n, b"%d " % turn * 50) for n in range(2000))
    compact_all(db)
    report = db.explain_retention()
    assert len(report.copies) == 6
    for copy, segment in zip(report.copies, db.status().segments, strict=True):
        assert copy.path == segment.path
        assert copy.total_bytes == segment.log_bytes + segment.layer_bytes
    assert report.total("live_bytes") > 0
    assert report.total("total_bytes") == db.status().disk_bytes


def layers(status: aurora.VolumeStatus) -> int:
    return sum(segment.layer_bytes for segment in status.segments)


def test_history_is_given_up_when_the_window_is_closed(db: aurora.Database) -> None:
    rows = [(b"%04d" % n, bytes([n % 251]) * 300) for n in range(4000)]
    for turn in range(6):
        db.put_many((key, b"%d " % turn + value) for key, value in rows)
    compact_all(db)
    before = db.status()
    assert before.history_used_bytes > 0
    db.set_backtrack_window(timedelta(0))

    def collected() -> bool:
        db.compact()
        return db.status().history_used_bytes < before.history_used_bytes / 100

    until(collected, "history is collected")
    assert layers(db.status()) < layers(before) / 2
    assert len(db) == 4000


def test_what_a_view_kept_goes_when_it_is_closed(tmp_path: Path) -> None:
    # Nothing is committed since, so that the horizon stays where it is.
    with aurora.open(
        tmp_path / "db", topology=aurora.Topology.single(), backtrack_window=timedelta(0)
    ) as db:
        for turn in range(2):
            view = db.snapshot() if turn == 1 else None
            db.put_many((b"%04d" % n, random.randbytes(300)) for n in range(4000))
        assert view is not None
        compact_all(db)
        kept = db.status()
        assert kept.history_used_bytes > kept.live_bytes / 2
        view.close()
        db.compact()
        assert db.status().history_used_bytes < kept.history_used_bytes / 100
        until(lambda: layers(db.status()) < 0.7 * layers(kept), "its bytes are given back")


def test_compacting_while_layers_are_merged_leaves_nothing_behind(tmp_path: Path) -> None:
    # A merge that began while compact() ran used to bring back what that had taken over.
    for turn in range(6):
        path = tmp_path / f"db{turn}"
        with aurora.open(
            path,
            page_bytes=4096,
            topology=aurora.Topology.single(),
            backtrack_window=timedelta(0),
        ) as db:
            for _ in range(45):
                keys = (b"%06d" % random.randrange(40000) for _ in range(1000))
                db.put_many((key, random.randbytes(500)) for key in keys)
            db.compact()

            def files() -> int:
                return sum(file.stat().st_size for file in path.glob("a/*/layer-*"))  # noqa: B023

            until(lambda: files() == layers(db.status()), "obsolete layers are removed")
            assert layers(db.status()) < 25_000_000


def test_the_limit_cuts_the_window_short(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db", history_bytes=256 << 10) as db:

        def overwrite() -> bool:
            db.put_many((b"%04d" % n, b"%f " % time.time() * 20) for n in range(1000))
            compact_all(db)
            return db.explain_retention().cause == "limit"

        until(overwrite, "the limit has cut the window", 30)

        def within() -> bool:
            db.compact()
            return db.status().history_used_bytes <= 256 << 10

        until(within, "history is within its limit", 30)


def test_a_compaction_leaves_history_within_its_limit(tmp_path: Path) -> None:
    """What was in deltas counts only once it is in the base: one call sees to that as well."""
    limit = 256 << 10
    rng = random.Random(5)
    with aurora.open(tmp_path / "db", history_bytes=limit) as db:
        for _ in range(30):
            db.put_many((b"%04d" % n, rng.randbytes(100)) for n in range(1000))
        db.compact()
        assert db.status().history_used_bytes <= limit
        assert db.explain_retention().cause == "limit"


def test_an_idle_database_gives_space_back(tmp_path: Path) -> None:
    """Nobody calls compact(): the log shrinks, and then what was deleted goes."""
    rng = random.Random(7)
    keys = [rng.randbytes(16) for _ in range(60_000)]
    with aurora.open(tmp_path / "db", backtrack_window=timedelta(0)) as db:
        db.put_many((key, rng.randbytes(100)) for key in keys)

        def largest(what: str) -> int:
            return max(int(getattr(each, what)) for each in db.status().segments)

        assert largest("log_bytes") > 4 << 20
        until(lambda: largest("log_bytes") <= 4 << 20, "the log is small", seconds=30)
        full = largest("layer_bytes")
        assert full > 5 << 20
        for start in range(0, 50_000, 10_000):
            with db.begin() as txn:
                for key in keys[start : start + 10_000]:
                    txn.delete(key)
        until(lambda: largest("layer_bytes") < full / 3, "what was deleted is gone", seconds=30)
        until(lambda: largest("log_bytes") <= 4 << 20, "the log is small again", seconds=30)
        assert dict(db.scan()).keys() == set(keys[50_000:])
        assert db.verify().ok
    with aurora.open(tmp_path / "db") as db:
        assert dict(db.scan()).keys() == set(keys[50_000:])
