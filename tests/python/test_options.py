"""What `open` accepts and refuses."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("create", 1, TypeError),
        ("topology", ("a", "b"), TypeError),
        ("cache_bytes", 1000, ValueError),
        ("cache_bytes", 1 << 64, ValueError),
        ("cache_bytes", 1e9, TypeError),
        ("cache_bytes", True, TypeError),
        ("page_bytes", 2048, ValueError),
        ("page_bytes", 131072, ValueError),
        ("page_bytes", 5000, ValueError),
        ("protection_group_bytes", 8192, ValueError),
        ("protection_group_bytes", (64 << 20) + 1, ValueError),
        ("protection_group_bytes", (512 << 30) + 8192, ValueError),
        ("protection_group_bytes", 1 << 80, ValueError),
        ("backtrack_window", 3600, TypeError),
        ("backtrack_window", timedelta(seconds=-1), ValueError),
        ("history_bytes", -1, ValueError),
        ("durability", "always", ValueError),
        ("nothing", 1, TypeError),
    ],
)
def test_bad_options_are_refused_before_anything_is_made(
    tmp_path: Path, option: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=option):
        aurora.open(tmp_path / "db", **{option: value})
    assert not (tmp_path / "db").exists()


def test_options_are_keyword_only(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        aurora.open(tmp_path / "db", True)  # type: ignore[misc]
    with pytest.raises(TypeError):
        aurora.open(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("page_bytes", [4096, 8192, 16384, 65536])
def test_page_sizes(tmp_path: Path, page_bytes: int) -> None:
    with aurora.open(tmp_path / "db", page_bytes=page_bytes) as db:
        db.put_many((b"%05d" % i, b"x" * i) for i in range(2000))
        assert db.status().page_bytes == page_bytes
    with aurora.open(tmp_path / "db") as db:
        assert [len(value) for _, value in db.scan()] == list(range(2000))
        assert db.status().page_bytes == page_bytes


def test_history_options_are_kept(tmp_path: Path) -> None:
    with aurora.open(
        tmp_path / "db", backtrack_window=timedelta(hours=5), history_bytes=1 << 30
    ) as db:
        assert db.status().backtrack_window == timedelta(hours=5)
        assert db.status().history_bytes == 1 << 30


def test_small_protection_groups_let_the_volume_grow(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db", protection_group_bytes=64 * 4096, page_bytes=4096) as db:
        for i in range(8):
            db.put(b"big %d" % i, bytes([i]) * 100_000)
        db.put_many((b"%06d" % i, b"v" * 50) for i in range(300))
        with db.begin() as txn:
            txn.put(b"huge", b"h" * (3 << 20))
        assert db.status().protection_groups > 10
        assert db[b"huge"] == b"h" * (3 << 20)
        assert db.verify().ok
    with aurora.open(tmp_path / "db") as db:
        assert len(db) == 309
        assert db[b"big 7"] == b"\7" * 100_000


def test_topology() -> None:
    topology = aurora.Topology(zones=("a", "b", "c"), copies_per_zone=2)
    assert topology == aurora.Topology()
    assert topology.zones == ("a", "b", "c")
    assert topology.copies == 6
    mapped = aurora.Topology({"x": "/disk1/x", "y": Path("/disk2/y")}, copies_per_zone=3)
    assert mapped.zones == ("x", "y")
    assert mapped.folders() == (("x", "/disk1/x"), ("y", "/disk2/y"))
    assert aurora.Topology.single().copies == 1
    assert hash(topology) == hash(aurora.Topology())
    with pytest.raises(AttributeError):
        topology.zones = ()  # type: ignore[misc]
    for bad in ((), ("a", "a"), ("a/b",), ("",), ("..",), {"a": "/x", "b": "/x"}):
        with pytest.raises(ValueError, match=r"zone|folder"):
            aurora.Topology(bad)
    for bad_type in ("abc", (1, 2)):
        with pytest.raises(TypeError):
            aurora.Topology(bad_type)  # type: ignore[arg-type]
    for copies in (0, 33):
        with pytest.raises(ValueError, match="copies_per_zone"):
            aurora.Topology(("a", "b"), copies)


@pytest.mark.parametrize("name", ["LOCK", "volume.json", "volume.creating", "volume.cloning"])
def test_no_zone_is_in_the_way_of_a_file_of_the_volume(tmp_path: Path, name: str) -> None:
    """Neither by its name, which becomes the folder's in a clone, nor by its folder."""
    for zones in (
        (name,),
        (f"{name}.replacing",),
        {name: "x"},
        {name: tmp_path / "x"},
        {"a": name},
        {"a": f"./{name}"},
        {"a": f"{name}/a"},
    ):
        with pytest.raises(ValueError, match=name):
            aurora.Topology(zones)
    # Elsewhere they are names like others.
    zones = {"a": tmp_path / name, "b": f"zones/{name}", "c": f"{name} c"}
    with aurora.open(tmp_path / "db", topology=aurora.Topology(zones)) as db:
        db[b"k"] = b"v"
        with db.clone(tmp_path / "clone", topology=aurora.Topology(("a", "b", "c"))) as clone:
            assert clone[b"k"] == b"v"


def test_folders_of_zones_differ_however_they_are_spelled(tmp_path: Path) -> None:
    for one, other in (("x", "./x"), ("x", "x/"), ("x/y", "x//y"), ("/x/y", "/x/./y")):
        with pytest.raises(ValueError, match="folders of zones must differ"):
            aurora.Topology({"a": one, "b": other})
    assert aurora.Topology({"a": "x", "b": "x/y"}).paths == ("x", "x/y")


def test_zones_on_other_folders(tmp_path: Path) -> None:
    folders = {name: tmp_path / f"disk {name}" for name in ("one", "two", "three")}
    with aurora.open(tmp_path / "dä ta", topology=aurora.Topology(folders)) as db:
        db[b"k"] = b"v"
        status = db.status()
    assert len(status.segments) == 6
    for segment in status.segments:
        assert Path(segment.path).is_relative_to(folders[segment.zone])
    with aurora.open(tmp_path / "dä ta") as db:
        assert db[b"k"] == b"v"
    with pytest.raises(ValueError, match="zones"):
        aurora.open(tmp_path / "dä ta", topology=aurora.Topology.single())


def test_single_copy(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db", topology=aurora.Topology.single()) as db:
        db[b"k"] = b"v"
        assert len(db.status().segments) == 1
    with aurora.open(tmp_path / "db") as db:
        assert db[b"k"] == b"v"


def test_create_false_needs_a_database(tmp_path: Path) -> None:
    with pytest.raises(aurora.StorageIOError, match="create=True") as caught:
        aurora.open(tmp_path, create=False)
    assert caught.value.errno == 2
    with pytest.raises(aurora.StorageIOError):
        aurora.open(tmp_path / "missing", create=False)
    assert not (tmp_path / "missing").exists()


def test_times_at_the_end_of_what_can_be_told(tmp_path: Path) -> None:
    with aurora.open(tmp_path, backtrack_window=timedelta.max) as db:
        lsn = db.put(b"k", b"v")
        db.set_backtrack_window(timedelta.max)
        assert db.status().backtrack_window > timedelta(days=999_999_998)
        for timeout in (float("inf"), 1e300):
            db.wait_durable(lsn, timeout=timeout)
        with pytest.raises(ValueError, match="timeout"):
            db.wait_durable(lsn, timeout=float("nan"))
        for never in (-1, lsn + 1):
            with pytest.raises(ValueError, match="no commit has LSN"):
                db.moment_time(never)
        view = db.snapshot()
        view.close()
        with pytest.raises(aurora.DatabaseClosedError), view:
            pass
    with aurora.open(tmp_path) as db:
        assert db[b"k"] == b"v"
        assert db.status().backtrack_window > timedelta(days=999_999_998)
