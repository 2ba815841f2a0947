"""Clones: of now and of then, clones of clones, deleted in any order, cut short."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.volumes import (
    COPIES,
    all_good,
    assert_holds,
    assert_writable,
    compact_all,
    fill,
    remove,
    seeded,
    segment_folder,
    until,
)

import aurora_engine as aurora


def test_a_clone_and_its_parent_part(tmp_path: Path) -> None:
    rng = seeded("clone")
    with aurora.open(tmp_path / "parent") as db:
        contents = fill(db, rng)
        db.compact()
        with db.clone(tmp_path / "clone") as clone:
            theirs = contents.copy()
            assert_holds(clone, theirs)
            assert clone.status().parent_id == db.status().volume_id != clone.status().volume_id
            assert clone.status().parent_lsn == db.durable_lsn
            assert len(clone.status().segments) == COPIES
            assert_writable(clone, theirs, b"clone")
            assert_writable(db, contents, b"parent")
            assert_holds(clone, theirs)
            assert clone.verify().ok
        assert_holds(db, contents)
        assert db.verify().ok
    with aurora.open(tmp_path / "clone") as clone:
        assert_holds(clone, theirs)
        until(lambda: all_good(clone), "all copies are good")


def test_a_clone_of_the_past_and_its_way_forward(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "parent") as db:
        lsns = [db.put(b"n", b"%d" % n) for n in range(20)]
        db.compact()
        last = db.put(b"n", b"last")
        with db.clone(tmp_path / "clone", at=lsns[7]) as clone:
            assert clone[b"n"] == b"7"
            assert clone.status().parent_lsn == lsns[7]
            with clone.at(lsns[3]) as view:
                assert view[b"n"] == b"3"
            assert clone.history()[-1].to_lsn == lsns[7]
            clone.backtrack(last)
            assert clone[b"n"] == b"last"
        assert db[b"n"] == b"last"
        assert db.history() == []


@pytest.mark.parametrize("order", ["oldest first", "newest first"])
def test_clones_of_clones_removed_in_any_order(tmp_path: Path, order: str) -> None:
    rng = seeded("generations")
    paths = [tmp_path / str(n) for n in range(5)]
    expected = []
    db = aurora.open(paths[0])
    contents = fill(db, rng)
    db.compact()
    for number, path in enumerate(paths[1:]):
        assert_writable(db, contents, b"%d" % number)
        expected.append(contents.copy())
        db.close()
        with aurora.open(paths[number]) as parent:
            db = parent.clone(path)
    db.close()
    expected.append(contents)
    left = list(zip(paths, expected, strict=True))
    if order == "newest first":
        left.reverse()
    while left:
        for path, holds in left:
            with aurora.open(path) as each:
                assert_holds(each, holds)
                assert each.verify().ok
        shutil.rmtree(left.pop(0)[0])


def test_a_clone_shares_its_parents_layers(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "parent") as db:
        db.put_many((b"%06d" % n, os.urandom(200)) for n in range(20_000))
        compact_all(db)
        assert db.status().own_bytes == db.status().disk_bytes
        with db.clone(tmp_path / "clone") as clone:
            layers = sum(segment.layer_bytes for segment in clone.status().segments)
            for each in (db, clone):
                status = each.status()
                # Copies that follow another one's compaction part from what they shared.
                assert status.own_bytes <= status.disk_bytes - layers / 6
        shutil.rmtree(tmp_path / "clone")
        assert db.status().own_bytes == db.status().disk_bytes


def test_where_a_clone_cannot_be_made(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "parent") as db:
        lsn = db.put(b"k", b"v")
        db.clone(tmp_path / "clone").close()
        with pytest.raises(ValueError, match="already"):
            db.clone(tmp_path / "clone")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "letter").touch()
        with pytest.raises(ValueError, match="letter"):
            db.clone(tmp_path / "full")
        assert [file.name for file in (tmp_path / "full").iterdir()] == ["letter"]
        (tmp_path / "link").symlink_to(tmp_path / "parent")
        for inside in ("parent", "parent/a/clone", "link/clone"):
            with pytest.raises(ValueError, match="outside"):
                db.clone(tmp_path / inside)
        zones = aurora.Topology({"a": tmp_path / "far", "b": tmp_path / "link" / "b"})
        with pytest.raises(ValueError, match="outside"):
            db.clone(tmp_path / "later", topology=zones)
        no_topology: Any = "abc"
        with pytest.raises(TypeError, match="topology must be a Topology"):
            db.clone(tmp_path / "later", topology=no_topology)
        with pytest.raises(ValueError, match="future"):
            db.clone(tmp_path / "later", at=lsn + 1000)
        for nowhere in ("/proc/nowhere/clone", tmp_path / ("long" * 64)):
            with pytest.raises(aurora.StorageIOError):
                db.clone(nowhere)
        assert not (tmp_path / "later").exists()
        assert not (tmp_path / "far").exists()


def test_zones_of_a_clone_may_lie_elsewhere(tmp_path: Path) -> None:
    zones = {name: str(tmp_path / f"disk {name}") for name in "abc"}
    with aurora.open(tmp_path / "parent", topology=aurora.Topology(zones)) as db:
        db[b"k"] = b"v"
        with db.clone(tmp_path / "inside") as clone:
            assert clone[b"k"] == b"v"
            inside = str(tmp_path / "inside")
            assert all(each.path.startswith(inside) for each in clone.status().segments)
        with db.clone(tmp_path / "outside", topology=aurora.Topology(zones)) as clone:
            assert clone[b"k"] == b"v"
            assert clone.verify().ok
        assert db.verify().ok


@pytest.mark.parametrize("away", [0, 1])
def test_copies_of_a_clone_are_files_of_their_own(tmp_path: Path, away: int) -> None:
    """Also where it has more of them than its parent: they would be lost together."""
    few = aurora.Topology(("a", "b", "c"), 1) if away else aurora.Topology.single()
    with aurora.open(tmp_path / "parent", topology=few) as db:
        contents = fill(db, seeded("files of their own"))
        compact_all(db)
        for segment in db.status().segments[1 : 1 + away]:
            remove(Path(segment.path), seeded("away"))
        with db.clone(tmp_path / "clone", topology=aurora.Topology()) as clone:
            files = [file.stat() for file in (tmp_path / "clone").rglob("layer-*")]
            assert len({file.st_ino for file in files}) == len(files) >= COPIES
            assert_holds(clone, contents)
            assert clone.verify().ok


def test_a_clone_that_was_cut_short_says_so_and_is_begun_anew(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "parent") as db:
        db[b"k"] = b"v"
        db.clone(tmp_path / "clone").close()
        # What a crash before its last step leaves.
        (tmp_path / "clone" / "volume.cloning").write_text("00" * 16)
        for metadata in (tmp_path / "clone").rglob("volume.json"):
            metadata.unlink()
        for create in (True, False):
            with pytest.raises(aurora.CorruptionError, match="cut short"):
                aurora.open(tmp_path / "clone", create=create)
        with db.clone(tmp_path / "clone") as clone:
            assert clone[b"k"] == b"v"
            assert clone.verify().ok
    assert not (tmp_path / "clone" / "volume.cloning").exists()


@pytest.mark.parametrize("creating", [True, False])
def test_a_clone_that_was_killed_at_its_very_beginning_says_so(
    tmp_path: Path, creating: bool
) -> None:
    """The note that it is being made is written under another name before it has its own."""
    target = tmp_path / "clone"
    target.mkdir()
    (target / "LOCK").touch()
    (target / "volume.cloning.replacing").write_text("00" * 16)
    with pytest.raises(aurora.CorruptionError, match="cut short"):
        aurora.open(target, create=creating)
    with aurora.open(tmp_path / "parent") as db:
        db[b"k"] = b"v"
        db.clone(target).close()
    with aurora.open(target, create=False) as clone:
        assert clone[b"k"] == b"v"


def stopping(_done: int, _total: int) -> bool:
    return False


def failing(_done: int, _total: int) -> bool:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("progress", "error"), [(stopping, aurora.StorageIOError), (failing, ZeroDivisionError)]
)
def test_what_a_clone_that_is_stopped_has_made_is_removed(
    tmp_path: Path,
    progress: Callable[[int, int], bool],
    error: type[Exception],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nothing else is, and what progress raises is raised once, by the clone."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "letter").touch()
    (tmp_path / "empty").mkdir()
    zones = aurora.Topology(
        {"a": "deep/er/a", "b": tmp_path / "disk" / "new" / "b", "c": tmp_path / "disk"}
    )
    before = sorted(tmp_path.rglob("*"))
    with aurora.open(tmp_path / "parent") as db:
        db[b"k"] = b"v"
        before += [tmp_path / "parent", *(tmp_path / "parent").rglob("*")]
        for target in (tmp_path / "new" / "clone", tmp_path / "empty"):
            for topology in (None, zones):
                with pytest.raises(error):
                    db.clone(target, topology=topology, progress=progress)
                assert set(tmp_path.rglob("*")) - set(before) == set()
        assert set(before) <= set(tmp_path.rglob("*"))
        with db.clone(tmp_path / "empty", topology=zones) as clone:
            assert clone[b"k"] == b"v"
    assert "Exception in thread" not in capfd.readouterr().err


@pytest.mark.parametrize("verb", ["clone", "repair", "backtrack", "close"])
def test_progress_may_not_call_what_waits_for_who_calls_it(tmp_path: Path, verb: str) -> None:
    """It would wait for ever; everything else goes on."""
    with aurora.open(tmp_path / "parent") as db:
        lsn = db.put(b"k", b"v")
        arguments: dict[str, tuple[object, ...]] = {"clone": (tmp_path / "x",), "backtrack": (lsn,)}

        def meddling(_done: int, _total: int) -> bool:
            assert db[b"k"] == b"v"
            assert db.status().vdl >= lsn
            getattr(db, verb)(*arguments.get(verb, ()))
            return True

        with pytest.raises(ValueError, match=f"{verb} would wait for ever"):
            db.clone(tmp_path / "clone", progress=meddling)
        remove(segment_folder(tmp_path / "parent", 4), seeded("meddling"))
        with pytest.raises(ValueError, match=f"{verb} would wait for ever"):
            db.repair(progress=meddling)
        assert sorted(tmp_path.iterdir()) == [tmp_path / "parent"]
        db.repair()
        db.clone(tmp_path / "clone", progress=lambda _done, _total: db[b"k"] == b"v").close()


INTERRUPTED = """
import signal, sys
import aurora_engine as aurora
signal.signal(signal.SIGINT, signal.default_int_handler)
with aurora.open(sys.argv[1]) as db:
    print("ready", flush=True)
    while True:
        db.clone(sys.argv[2], progress=lambda done, total: True).close()
        print("made", flush=True)
        sys.stdin.readline()
"""


def test_ctrl_c_while_it_is_made_leaves_nothing_or_all(tmp_path: Path) -> None:
    rng = seeded("ctrl-c")
    parent, target = tmp_path / "parent", tmp_path / "clone"
    with aurora.open(parent) as db:
        fill(db, rng)
        db.compact()
    for _ in range(15):
        command = [sys.executable, "-c", INTERRUPTED, str(parent), str(target)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            time.sleep(rng.random() * 0.05)
            process.send_signal(signal.SIGINT)
            complaint = process.stderr.read()
        assert b"KeyboardInterrupt" in complaint
        assert b"Exception in thread" not in complaint
        # An empty directory may stay: Ctrl-C can come when it is made and nobody knows of it yet.
        if target.exists() and any(target.iterdir()):
            with aurora.open(target, create=False) as clone:
                assert clone.verify().ok
        shutil.rmtree(target, ignore_errors=True)


def test_a_clone_while_writes_go_on_and_with_copies_away(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "parent") as db:
        rows = [(b"%05d" % n, b"x" * 300) for n in range(3000)]
        db.put_many(rows)
        for copy in (1, 4):
            remove(segment_folder(tmp_path / "parent", copy), seeded("nothing"))
        with db.clone(tmp_path / "clone") as clone:
            assert dict(clone.scan()) == dict(rows)
            assert all_good(clone)
