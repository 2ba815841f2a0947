"""``aurora-engine inspect``: a second reader agrees with the core, and names damage."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.segments_by_hand import GROUP_PAGES, SegmentByHand
from tests.volumes import ROOT, fill, seeded, segment_folder

import aurora_engine as aurora
from aurora_engine._ext.disk import Disk
from aurora_engine._ext.frame import checksum
from aurora_engine._ext.segment import Segment as CoreSegment
from aurora_engine.cli import main
from aurora_engine.errors import SnapshotTooOldError
from aurora_engine.inspector import packages
from aurora_engine.inspector.checksums import unpack
from aurora_engine.inspector.command import Request, inspect
from aurora_engine.inspector.damage import Damage, Findings, WrongUse
from aurora_engine.inspector.frames import HEADER as FRAME_HEADER
from aurora_engine.inspector.frames import decode_header, decode_payload
from aurora_engine.inspector.layers import Layer
from aurora_engine.inspector.manifest import decode_manifest
from aurora_engine.inspector.metadata import decode_metadata
from aurora_engine.inspector.pages import Page, Refused
from aurora_engine.inspector.records import Place, decode_records
from aurora_engine.inspector.segments import Segment
from aurora_engine.inspector.text import lines

INSPECTOR = ROOT / "src" / "aurora_engine" / "inspector"
WRITER = """
import os, random, sys
import aurora_engine as aurora
sys.path.insert(0, {root!r})
from tests.volumes import fill
rng = random.Random({seed})
db = aurora.open({path!r}, **{options!r})
fill(db, rng)
for number in range(200):
    db.put(b"last %d" % rng.randrange(50), rng.randbytes(rng.randrange(300)))
if {killed}:
    os.kill(os.getpid(), 9)
db.close()
"""
SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "small groups": {"page_bytes": 4096, "protection_group_bytes": 64 * 4096},
    "large pages": {"page_bytes": 65536},
}


def write(path: Path, killed: bool, seed: int, options: dict[str, Any]) -> None:
    """Writes a volume in a process of its own, which ends well or by a signal."""
    program = WRITER.format(
        root=str(ROOT), seed=seed, path=str(path), options=options, killed=killed
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert ended.returncode == (-9 if killed else 0), ended.stderr.decode()


@pytest.fixture(scope="module", params=["closed", "killed"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect") / "volume"
    write(path, request.param == "killed", seeded("original").getrandbits(32), {})
    return path


@pytest.fixture
def volume(original: Path, tmp_path: Path) -> Path:
    """A copy to be hurt."""
    shutil.copytree(original, tmp_path / "volume")
    return tmp_path / "volume"


def check(path: Path, **options: Any) -> dict[str, Any]:
    """Inspects, and makes the text of it too."""
    facts = inspect(Request(path=path, **options))
    assert json.loads(json.dumps(facts)) == facts
    assert list(lines(facts))
    return facts


def assert_same_pages(folder: Path, rng: random.Random, count: int) -> None:
    """Pages of the inspector at random moments equal those of the core."""
    findings = Findings()
    disk = Disk.posix(folder)
    core = CoreSegment.open(disk)
    with Segment(folder, findings) as segment:
        assert segment.log.scl == core.state().scl
        lsns = sorted(
            {record.lsn for page in segment.log.pages for record, _ in segment.log.records_of(page)}
        )
        known = sorted(segment.pages())
        pages = [*known, segment.manifest.end_page - 1]
        for _ in range(count if known else 0):
            page_id = rng.choice(pages)
            moment = rng.choice([segment.newest_moment, rng.choice(lsns or [0])])
            if rng.random() < 0.3:
                first = min((layer.first_lsn for layer in segment.manifest.layers), default=0)
                moment = rng.randrange(first, segment.newest_moment + 1)
            expected: bytes | str | None
            try:
                expected = core.read_page(page_id, moment)
            except SnapshotTooOldError:
                expected = "collected"
            built: bytes | str | None
            try:
                page = segment.build(page_id, moment)
                built = None if page is None else bytes(page.bytes)
            except WrongUse:
                built = "collected"
            assert built == expected, f"page {page_id} at {moment} in {folder}"
    core.close()
    disk.close()
    assert not findings.damage


# ---- what is sound


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_sound_volumes(tmp_path: Path, shape: str, killed: bool) -> None:
    rng = seeded(f"{shape} {killed}")
    path = tmp_path / "volume"
    write(path, killed, rng.getrandbits(32), SHAPES[shape])
    facts = check(path, compare=True)
    assert facts["sound"], facts["damage"]
    assert facts["checked"]["pages"] > 5
    assert len(facts["segments"]) == 6 * facts["metadata"]["groups"]
    group = rng.randrange(facts["metadata"]["groups"])
    for copy in rng.sample(range(6), 2):
        assert_same_pages(segment_folder(path, copy, group), rng, 60)


def test_recovered_volumes(volume: Path) -> None:
    """Opened again and again, with a copy that was lost and rebuilt, all stays sound."""
    rng = seeded("recovered")
    shutil.rmtree(segment_folder(volume, rng.randrange(6)))
    for part in range(3):
        with aurora.open(volume) as db:
            for number in range(100):
                db.put(b"again %d" % rng.randrange(50), rng.randbytes(number))
            db.repair()
            if part:
                db.compact()
        facts = check(volume, compare=True)
        assert facts["sound"], facts["damage"]


@pytest.mark.parametrize("round_number", range(4))
def test_segments_by_hand(tmp_path: Path, round_number: int) -> None:
    """Every operation, backtracks, truncations and horizons: pages as the core and a model."""
    rng = seeded(f"by hand {round_number}")
    by_hand = SegmentByHand(tmp_path / "segment", rng, rng.choice((4096, 8192, 16384, 65536)))
    for _ in range(6):
        for _ in range(40):
            by_hand.step()
        findings = Findings()
        with Segment(tmp_path / "segment", findings) as segment:
            segment.check(findings)
            assert not findings.damage
            state = by_hand.segment.state()
            assert (segment.log.scl, segment.manifest.flushed) == (state.scl, state.flushed_lsn)
            for _ in range(60):
                page_id = GROUP_PAGES + rng.randrange(GROUP_PAGES)
                moment, pages = rng.choice([rng.choice(by_hand.moments), by_hand.moments[-1]])
                expected = by_hand.read(page_id, moment)
                try:
                    page = segment.build(page_id, moment)
                    built: bytes | str | None = None if page is None else bytes(page.bytes)
                except WrongUse:
                    built = "collected"
                assert built == expected
                if moment >= by_hand.horizon:
                    assert built == pages.get(page_id)
    by_hand.close()


def test_backtracks_and_clones(tmp_path: Path) -> None:
    """Rewinds are listed and obeyed; a clone's layers verify with the seed of their origin."""
    rng = seeded("backtracks and clones")
    path, other = tmp_path / "volume", tmp_path / "clone"
    with aurora.open(path) as db:
        fill(db, rng)
        moments = []
        for number in range(30):
            db.put_many({rng.randbytes(3): rng.randbytes(200) for _ in range(20)})
            moments.append(db.durable_lsn)
            if number % 10 == 9:
                db.backtrack(to=rng.choice(moments))
                db.compact()
        db.clone(other, at=moments[-1]).close()
    for volume in (path, other):
        facts = check(volume, compare=True)
        assert facts["sound"], facts["damage"]
        rewinds = facts["segments"][0]["rewinds"]
        assert [rewind["kind"] for rewind in rewinds].count("backtrack") >= 3
        assert_same_pages(segment_folder(volume, rng.randrange(6)), rng, 60)
    assert facts["metadata"]["parent_lsn"] == moments[-1]
    origins = {layer["origin"] for layer in facts["segments"][0]["layers"]}
    assert origins == {facts["metadata"]["parent_id"]}
    with aurora.open(path) as db:
        db.put(b"more", b"")


# ---- what is not


def flip(file: Path, offset: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        old = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([old ^ 0x40]))


def named(facts: dict[str, Any]) -> set[str]:
    return {found["file"] for found in facts["damage"]}


def live_part(file: Path) -> tuple[int, int]:
    """Where a flipped byte counts: all of a file, or the frames of a log."""
    if not file.name.startswith("log-"):
        return 0, file.stat().st_size
    frames = [frame for frame in check(file)["frames"] if not frame["stale"]]
    return (0, frames[-1]["offset"] + frames[-1]["bytes"]) if frames else (0, 4096)


@pytest.mark.parametrize("kind", ["manifest", "layer-*", "log-*", "volume.json"])
def test_flipped_bytes_are_named(volume: Path, kind: str, request: pytest.FixtureRequest) -> None:
    rng = seeded(f"flip {kind}")
    folder = volume if kind == "volume.json" else segment_folder(volume, rng.randrange(6))
    listed = {f"{layer['file']}" for layer in check_listed_layers(volume)}
    for _ in range(12):
        files = [f for f in folder.glob(kind) if kind != "layer-*" or f.name in listed]
        file = rng.choice(sorted(files))
        begin, end = live_part(file)
        offset = rng.randrange(begin, end)
        flip(file, offset)
        facts = check(volume)
        if kind == "log-*" and not facts["sound"]:
            assert str(file) in named(facts)
        elif kind == "log-*":
            # In the last frames of a killed writer this may as well be a torn write.
            is_noted = any(str(file) in note for note in facts["notes"])
            assert is_noted or "killed" in request.node.name
        else:
            assert named(facts) == {str(file)}, (offset, facts["damage"])
            assert inspect(Request(path=file))["sound"] is False
        flip(file, offset)
    assert check(volume)["sound"]


def check_listed_layers(volume: Path) -> list[dict[str, Any]]:
    return [layer for segment in check(volume)["segments"] for layer in segment["layers"]]


def test_a_closed_log_has_no_byte_that_may_flip(original: Path, tmp_path: Path) -> None:
    """At a clean end the SCL is known: whatever frame is hurt, it is named."""
    rng = seeded("closed log")
    path = tmp_path / "volume"
    write(path, False, rng.getrandbits(32), {})
    folder = segment_folder(path, rng.randrange(6))
    for file in sorted(folder.glob("log-*")):
        frames = [frame for frame in check(file)["frames"] if not frame["stale"]]
        for frame in rng.sample(frames, min(8, len(frames))):
            offset = frame["offset"] + rng.randrange(frame["bytes"])
            flip(file, offset)
            facts = check(path)
            first = frame is frames[0]
            assert named(facts) == {str(file)} or first, (file, offset, facts["damage"])
            flip(file, offset)


@pytest.mark.parametrize("kind", ["manifest", "layer-*", "log-*", "volume.json"])
def test_files_cut_short_are_named(volume: Path, kind: str) -> None:
    rng = seeded(f"cut {kind}")
    folder = volume if kind == "volume.json" else segment_folder(volume, rng.randrange(6))
    listed = {f"{layer['file']}" for layer in check_listed_layers(volume)}
    files = [f for f in folder.glob(kind) if kind != "layer-*" or f.name in listed]
    file = rng.choice(sorted(files))
    os.truncate(file, rng.randrange(4096 * (kind == "log-*"), file.stat().st_size))
    assert str(file) in named(check(volume))
    file.unlink()
    facts = check(volume)
    assert not facts["sound"] or kind == "log-*"
    if kind == "volume.json":
        assert len(facts["segments"]) == 6  # the zones have copies of it


def test_lost_and_foreign_copies_are_named(volume: Path) -> None:
    first, second, third = (segment_folder(volume, copy) for copy in (0, 2, 4))
    shutil.rmtree(first)
    (second / "manifest").write_bytes((third / "manifest").read_bytes())
    facts = check(volume)
    assert named(facts) == {str(first), str(second / "manifest")}
    assert len(facts["segments"]) == 4


def test_copies_that_differ_are_named(tmp_path: Path) -> None:
    """A frame that was forged with good checksums shows by the pages that it makes."""
    path = tmp_path / "volume"
    write(path, False, 1, {})
    facts = check(path, compare=True)
    assert facts["sound"]
    hot = next(segment for segment in facts["segments"] if segment["copy"] == 3)
    file = segment_folder(path, 3) / max(
        extent["file"] for extent in hot["extents"] if extent["frames"]
    )
    records = check(file, records=True)["records"]
    chosen = [each for each in records if each["op"] in ("INSERT", "REPLACE")][-1]
    assert chosen["lsn"] > hot["flushed"]
    content = bytearray(file.read_bytes())
    forge(content, chosen["offset"], chosen["lsn"], bytes.fromhex(hot["volume"]))
    file.write_bytes(content)
    facts = check(path, compare=True)
    assert named(facts) == {str(segment_folder(path, 3))}
    assert "differs" in facts["damage"][0]["what"]


def test_a_copy_that_has_let_go_of_free_pages_does_not_differ(tmp_path: Path) -> None:
    """One copy compacts earlier than another, and of what is free and was nothing keeps nothing."""
    path = tmp_path / "volume"
    with aurora.open(path) as db:
        db.table("gone").put_many((b"%d" % number, bytes(3000)) for number in range(50))
        db.drop_table("gone")
        newest = db.put(b"with this frame", b"copies hear that what was before is durable")
    disk = Disk.posix(segment_folder(path, 0))
    core = CoreSegment.open(disk)
    core.retain(newest, [])
    core.compact()
    core.close()
    disk.close()
    facts = check(path, compare=True)
    assert facts["sound"], facts["damage"]


def test_groups_that_the_horizon_has_passed_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    with aurora.open(path, **SHAPES["small groups"]) as db:
        db.put_many((b"%d" % number, bytes(3000)) for number in range(200))
        for number in range(10):
            db.put(b"0", b"%d" % number)
        db.set_backtrack_window(timedelta(0))
        db.compact()
    facts = check(path, compare=True)
    assert facts["sound"], facts["damage"]
    assert facts["checked"]["pages"] > 100


def forge(content: bytearray, offset: int, lsn: int, volume: bytes) -> None:
    """Changes the last byte that a record of a frame writes, and makes the checksums fit."""
    seed = checksum(volume)
    length = int.from_bytes(content[offset + 8 : offset + 12], "little")
    at = offset + FRAME_HEADER.size
    while int.from_bytes(content[at + 8 : at + 16], "little") != lsn:
        at += int.from_bytes(content[at : at + 4], "little")
    end = at + int.from_bytes(content[at : at + 4], "little") - 8 * (content[at + 5] & 1)
    content[end - 1] ^= 1
    payload = bytes(content[offset + FRAME_HEADER.size : offset + length])
    content[offset + 96 : offset + 104] = checksum(payload, seed).to_bytes(8, "little")
    head = bytes(content[offset : offset + 104])
    content[offset + 104 : offset + 112] = checksum(head, seed).to_bytes(8, "little")


# ---- hostile bytes


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Content with some bytes, numbers or parts changed."""
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed) or 1)
        choice = rng.random()
        if choice < 0.4:
            changed[at : at + 1] = rng.randbytes(1)
        elif choice < 0.7:
            changed[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\1\0\0\0", b"\0\0\0\x80"))
        elif choice < 0.85:
            del changed[at : at + rng.randrange(64)]
        else:
            changed[at:at] = rng.randbytes(rng.randrange(64))
    return bytes(changed)


def believing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every checksum right, so that hostile bytes come as far as they can."""

    class Anything(int):
        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    for module in ("frames", "hot_log", "layers", "manifest"):
        monkeypatch.setattr(
            f"aurora_engine.inspector.{module}.checksum", lambda content, seed=0: Anything(0)
        )


@pytest.mark.parametrize("believed", [False, True], ids=["checked", "believed"])
def test_hostile_files_raise_nothing_else(
    volume: Path, monkeypatch: pytest.MonkeyPatch, believed: bool
) -> None:
    rng = seeded(f"hostile files {believed}")
    if believed:
        believing(monkeypatch)
    folder = segment_folder(volume, 1)
    files = [*sorted(folder.glob("*-*")), folder / "manifest", volume / "volume.json"]
    for _ in range(25):
        file = rng.choice(files)
        content = file.read_bytes()
        end, _ = live_part(file)
        end = end or (4096 * 8 if file.name.startswith("log-") else len(content))
        file.write_bytes(mutate(content[:end], rng) + content[end:])
        for path in (file, folder, volume):
            facts = check(path)
            assert facts["sound"] == (facts["damage"] == [])
        file.write_bytes(content)


def test_hostile_bytes_raise_nothing_else(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = seeded("hostile bytes")
    believing(monkeypatch)
    folder = segment_folder(volume, 1)
    manifest = (folder / "manifest").read_bytes()
    metadata = (volume / "volume.json").read_bytes()
    extent = next(folder.glob("log-*")).read_bytes()[4096 : 4096 * 5]
    length = int.from_bytes(extent[8:12], "little")
    payload = extent[FRAME_HEADER.size : length]
    damaged = 0
    for _ in range(4000):
        place = Place("hostile", 0)
        try:
            choice = rng.randrange(5)
            if choice == 0:
                decode_manifest(mutate(manifest, rng), "hostile")
            elif choice == 1:
                decode_metadata(mutate(metadata, rng), "hostile")
            elif choice == 2:
                content = mutate(extent, rng)
                header = decode_header(content[:4096], 0, place)
                if header is not None:
                    decode_payload(content[: header.padded], header, 0, range(1 << 20), place)
            else:
                page = Page(8192)
                page.bytes[8:24] = bytes(16)
                for record in decode_records(mutate(payload, rng), place):
                    page.bytes[8:16] = record.page.to_bytes(8, "little")
                    page.bytes[16:24] = record.prev.to_bytes(8, "little")
                    try:
                        page.apply(record)
                        page.check()
                    except Refused:
                        continue
        except Damage:
            damaged += 1
    assert damaged > 400


def test_what_only_begins_like_a_layer_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "layer-0000000000000001"
    file.write_bytes(b"AURLAYER" + bytes(300))
    with pytest.raises(Damage, match="header of the layer fails its checksum"):
        Layer(file)


def test_a_block_that_says_that_it_is_huge_takes_no_memory() -> None:
    import zstandard

    huge = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(Damage, match="does not decompress to 4096 bytes"):
            unpack(huge, 4096, Place("hostile", 0))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


# ---- the command


def run(*arguments: object, code: int = 0) -> str:
    """What the command prints, when it ends with ``code``."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["aurora-engine", "inspect", *map(str, arguments)])
        with redirect_stdout(output), redirect_stderr(output), pytest.raises(SystemExit) as ended:
            main()
    assert (ended.value.code or 0) == code, output.getvalue()
    return output.getvalue()


def test_command(volume: Path) -> None:
    facts = json.loads(run(volume, "--json"))
    assert facts["sound"]
    segment = facts["segments"][0]
    assert {"zone", "epoch", "scl", "flushed", "horizon", "rewinds", "extents"} <= segment.keys()
    layer = segment["layers"][0]
    assert {"kind", "tier", "records", "complete", "commits", "live", "origin"} <= layer.keys()
    file = Path(segment["path"]) / layer["file"]
    assert json.loads(run(file, "--json"))["layer"]["records"] == layer["records"]
    records = json.loads(run(file, "--records", "--limit", 3, "--json"))["records"]
    assert len(records) == 3
    page = records[0]["page"]
    listed = json.loads(run(file, "--records", "--page", page, "--json"))["records"]
    assert {record["page"] for record in listed} == {page}
    assert "INSERT" in run(file, "--records")
    logs = [Path(segment["path"]) / extent["file"] for extent in segment["extents"]]
    log = next(log for log in logs if json.loads(run(log, "--json"))["frames"])
    assert json.loads(run(log, "--records", "--json"))["records"]
    built = json.loads(run(volume, "--page", 2, "--json"))
    assert (built["page"]["page"], built["page"]["type"]) == (2, "leaf")
    assert len(built["copies"]) == 6
    then = json.loads(run(volume, "--page", 2, "--at", built["page"]["lsn"] - 1, "--json"))
    assert then["page"]["lsn"] < built["page"]["lsn"]
    assert "side table" in run(segment["path"], "--page", 2)
    assert "was not written" in run(volume, "--page", 1_000_000)
    for name in ("volume.json", "a/volume.json", "a/group-00000-copy-0/manifest"):
        assert "no damage" in run(volume / name)


def test_exit_codes(volume: Path, tmp_path: Path) -> None:
    flip(volume / "b" / "volume.json", 20)
    output = run(volume, code=3)
    assert f"damage: {volume / 'b' / 'volume.json'}" in output
    assert json.loads(run(volume, "--json", code=3))["sound"] is False
    for arguments in (
        (tmp_path / "nothing",),
        (tmp_path,),
        (volume, "--records"),
        (volume, "--at", 5),
        (volume, "--page", 1 << 40),
        (volume / "a" / "group-00000-copy-0", "--compare"),
        (volume, "--limit", -1),
    ):
        assert run(*arguments, code=2)


def test_a_volume_in_use_is_noted(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db") as db:
        fill(db, seeded("in use"))
        notes = check(tmp_path / "db")["notes"]
        assert any("open in another process" in note for note in notes)


def test_missing_packages(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(packages.MissingPackages, match=r"pip install aurora-engine\[inspect\]"):
        packages.require_packages()
    assert "pip install aurora-engine[inspect]" in run(volume, code=2)


def test_it_runs_without_the_core(volume: Path, tmp_path: Path) -> None:
    """The folder by itself, copied away from the package; nothing of ours is imported."""
    shutil.copytree(INSPECTOR, tmp_path / "aurora_engine" / "inspector")
    program = (
        "import runpy, sys; sys.modules['aurora_engine'] = None; "
        f"sys.argv = ['inspector', {str(volume)!r}, '--json']; "
        f"runpy.run_path({str(tmp_path / 'aurora_engine' / 'inspector')!r}, run_name='__main__')"
    )
    for arguments in (
        [str(tmp_path / "aurora_engine" / "inspector"), str(volume), "--json"],
        ["-c", program],
    ):
        ended = subprocess.run(
            [sys.executable, *arguments], check=False, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["sound"]


def test_it_imports_nothing_of_the_core() -> None:
    for file in INSPECTOR.glob("*.py"):
        text = file.read_text()
        assert "import aurora_engine" not in text
        assert "from aurora_engine" not in text
