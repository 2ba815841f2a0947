"""Views, moments and rewinds through the extension modules, on the manual drive."""

from __future__ import annotations

import threading

import pytest
from tests.python.test_segments import Cluster

from aurora_engine._ext.records import RewindRecord
from aurora_engine._ext.transaction import Txn
from aurora_engine.errors import ConflictError, SnapshotTooOldError

BACKTRACK = 2


def backtrack(cluster: Cluster, to: int) -> int:
    at = cluster.engine.hold()
    try:
        rewind = RewindRecord(at, to, 1, 5, BACKTRACK, 3, "somebody")
        for segment in cluster.segments:
            segment.rewind(rewind)
        cluster.engine.rewind(rewind)
    finally:
        cluster.engine.release()
    return at


def test_views_read_the_moments_they_name() -> None:
    cluster = Cluster()
    moments = {}
    for number in range(5):
        cluster.clock.now_us = 2_000_000 + 1000 * number
        cluster.put(b"k", b"%d" % number)
        moments[number] = cluster.engine.durable_lsn
    for number, lsn in moments.items():
        view = cluster.engine.view(lsn)
        assert view.read_only
        assert view.read_point == lsn
        assert view.get(None, b"k") == b"%d" % number
        view.rollback()
        assert cluster.engine.commit_at_lsn(lsn) == (lsn, 2_000_000 + 1000 * number)
        assert cluster.engine.commit_at_time(2_000_000 + 1000 * number + 999) == (
            lsn,
            2_000_000 + 1000 * number,
        )
    assert cluster.engine.count_commits(moments[1], moments[4]) == 3
    assert cluster.engine.commit_at_time(0) is None
    with pytest.raises(ValueError, match="future"):
        cluster.engine.view(moments[4] + 1)
    with pytest.raises(ValueError, match="read-only"):
        Txn(cluster.engine, False, moments[0])


def test_the_horizon_only_rises() -> None:
    cluster = Cluster()
    for number in range(4):
        cluster.put(b"k", b"%d" % number)
    newest = cluster.engine.durable_lsn
    oldest = cluster.engine.commit_at_lsn(newest - 3)
    assert oldest is not None
    view = cluster.engine.view(oldest.lsn)
    assert cluster.engine.horizon == 0
    cluster.engine.horizon = newest
    cluster.engine.horizon = oldest.lsn
    assert cluster.engine.horizon == newest
    assert cluster.engine.pins(newest) == [oldest.lsn]
    cluster.engine.view(oldest.lsn).rollback()
    view.rollback()
    assert cluster.engine.pins(newest) == []
    with pytest.raises(SnapshotTooOldError, match="oldest moment"):
        cluster.engine.view(oldest.lsn)


def test_history_goes_on_from_an_older_moment() -> None:
    cluster = Cluster()
    cluster.put(b"k", b"first")
    first = cluster.engine.durable_lsn
    cluster.put(b"k", b"second")
    before = Txn(cluster.engine)
    assert before.get(None, b"k") == b"second"
    at = backtrack(cluster, first)
    assert cluster.engine.durable_lsn == at + 1
    assert cluster.engine.get(None, b"k") == b"first"
    with pytest.raises(ConflictError, match="backtrack"):
        before.get(None, b"k")
    assert backtrack(cluster, at) == at + 1
    assert cluster.engine.get(None, b"k") == b"second"
    recorded = cluster.segments[0].rewinds()
    assert [(each.at, each.to) for each in recorded] == [(at, first), (at + 1, at)]
    assert recorded[0].who == "somebody"
    assert recorded[0].lost_commits == 3


def test_only_who_holds_may_rewind_and_release() -> None:
    cluster = Cluster()
    cluster.put(b"k", b"v")
    with pytest.raises(RuntimeError, match="does not hold"):
        cluster.engine.release()
    cluster.engine.hold()
    with pytest.raises(RuntimeError, match="already"):
        cluster.engine.hold()
    refused: list[BaseException] = []

    def release() -> None:
        try:
            cluster.engine.release()
        except RuntimeError as error:
            refused.append(error)

    other = threading.Thread(target=release)
    other.start()
    other.join()
    assert len(refused) == 1
    cluster.engine.release()
    cluster.engine.put(None, b"k", b"w")  # nobody steps: it does not become durable
    with pytest.raises(TimeoutError):
        cluster.engine.hold(timeout=0)
    cluster.settle()
    cluster.engine.hold(timeout=0)
    cluster.engine.release()
