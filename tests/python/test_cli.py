"""The command line: output, --json, exit codes. Reference: docs/reference/command_line.md."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import termios
from array import array
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from tests.volumes import ROOT, compact_all, flip, seeded, segment_folder, until

import aurora_engine as aurora
from aurora_engine.cli import COMMANDS, main, module_of

DONE, NOT_FOUND, USAGE, DAMAGED, LOCKED, QUORUM, IO, TOO_OLD = 0, 1, 2, 3, 4, 5, 6, 8
INTERRUPTED, UNREAD = 130, 141
LONG = ("scan", "dump")
# Whoever starts the tests may ignore Ctrl-C, as a shell does for what runs in the background.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from aurora_engine.cli import main; main()"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "volume"


def run(*arguments: object, code: int = DONE, given: bytes = b"", complaints: int = 1) -> bytes:
    """Standard output of a command that must end with ``code``; an error is one line."""
    stdin, stdout, stderr = (
        io.TextIOWrapper(io.BytesIO(text), "utf-8", write_through=True)
        for text in (given, b"", b"")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["aurora-engine", *map(str, arguments)])
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr)
        with pytest.raises(SystemExit) as ended:
            main()
    printed, complaint = (stream.buffer.getvalue() for stream in (stdout, stderr))
    assert (ended.value.code or DONE) == code, complaint.decode()
    if code not in (DONE, USAGE, DAMAGED):
        # A question, which ends so, may stand before it.
        assert re.search(rb"(^|\]: )aurora-engine: ", complaint.splitlines()[-1])
        assert complaint.count(b"\n") == complaints
    return printed


def facts(*arguments: object, code: int = DONE, given: bytes = b"") -> Any:
    return json.loads(run(*arguments, "--json", code=code, given=given))


def test_help_and_version() -> None:
    text = run("--help").decode()
    assert all(f"  {command} " in text for command in COMMANDS)
    assert "\n  Exit codes" in text
    assert run("--version").split()[-1].decode() == aurora.__version__
    for command in COMMANDS:
        told = run(command, "-h")
        assert b"PATH" in told
        assert b"\\" not in told


def test_the_reference_names_every_command_and_option() -> None:
    text = (ROOT / "docs" / "reference" / "command_line.md").read_text()
    for command in COMMANDS:
        assert f"## {command}\n" in text
        part = text.split(f"## {command}\n")[1].split("\n## ")[0]
        module = import_module(module_of(command))
        for parameter in module.command.params:
            for name in parameter.opts[:1]:
                if name.startswith("--"):
                    assert f"`{name}" in part, f"{command} {name} is not in the reference"


def test_installed_script(path: Path) -> None:
    """As a process of its own: no traceback, and the exit code reaches the shell."""
    script = Path(sys.executable).with_name("aurora-engine")
    if not script.exists():
        pytest.skip("the package is not installed with its script")
    subprocess.run([script, "create", path], check=True, capture_output=True)
    done = subprocess.run([script, "get", path, "k"], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (NOT_FOUND, b"")
    assert done.stderr == b"aurora-engine: no key 'k'\n"


def test_create(path: Path, tmp_path: Path) -> None:
    assert facts("create", path)["copies"] == 6
    run("create", path, code=USAGE)
    assert facts("info", path)["page_bytes"] == 8192
    assert facts("create", tmp_path / "small", "--single", "--page-bytes", 4096)["copies"] == 1
    assert facts("info", tmp_path / "small")["page_bytes"] == 4096
    zones = [f"--zone={name}={tmp_path / name}" for name in ("x", "y")]
    made = facts("create", tmp_path / "zones", *zones, "--copies-per-zone", 1)
    assert made["copies"] == 2
    assert {s["zone"] for s in facts("info", tmp_path / "zones")["segments"]} == {"x", "y"}
    assert b"6 copies" in run("create", tmp_path / "plain")


@pytest.mark.parametrize(
    "options",
    [
        ["--page-bytes", "5000"],
        ["--page-bytes", "many"],
        ["--zone", "nofolder"],
        ["--zone", "a=/x", "--zone", "b=/x"],
        ["--zone", "a=/x", "--zone", "a=/y"],
        ["--copies-per-zone", "0"],
        ["--single", "--zone", "a=/x"],
        ["--single", "--copies-per-zone", "2"],
        ["--nonsense"],
    ],
    ids=str,
)
def test_create_refuses(path: Path, options: list[str]) -> None:
    run("create", path, *options, code=USAGE)
    assert not path.exists()


def test_put_get_delete(path: Path) -> None:
    run("put", path, "k", "v")
    assert run("get", path, "k") == b"v\n"
    assert facts("get", path, "k") == {"key": "k", "value": "v"}
    run("put", path, "k", "-", given=bytes(range(256)))
    assert run("get", path, "k", "--raw") == bytes(range(256))
    assert run("get", path, "aw==", "-e", "base64") == base64.b64encode(bytes(range(256))) + b"\n"
    run("put", path, "00ff", "ff00", "--encoding", "hex")
    assert run("get", path, "00ff", "--encoding", "hex") == b"ff00\n"
    run("put", path, "ключ", "значение")
    assert run("get", path, "ключ").decode() == "значение\n"
    run("put", path, "", "empty key")
    assert run("get", path, "") == b"empty key\n"
    run("put", path, "--", "-k", "--v")
    assert run("get", path, "--", "-k") == b"--v\n"
    run("delete", path, "k")
    run("get", path, "k", code=NOT_FOUND)
    run("delete", path, "k", code=NOT_FOUND)
    run("put", path, "x" * 1025, "v", code=USAGE)
    run("get", path, "xyz", "--encoding", "hex", code=USAGE)
    run("get", path, code=USAGE)


def test_tables(path: Path) -> None:
    run("put", path, "k", "in the table", "--table", "t")
    assert run("get", path, "k", "-t", "t") == b"in the table\n"
    run("get", path, "k", code=NOT_FOUND)
    run("get", path, "k", "-t", "other", code=NOT_FOUND)
    run("scan", path, "-t", "other", code=NOT_FOUND)
    run("delete", path, "k", "-t", "other", code=NOT_FOUND)
    assert facts("info", path)["tables"] == {"t": 1}
    run("delete", path, "k", "-t", "t")
    assert facts("info", path)["tables"] == {"t": 0}


def test_scan(path: Path) -> None:
    with aurora.open(path) as db:
        db.put_many({b"%02d" % number: b"v%d" % number for number in range(20)})
    assert run("scan", path, "03", "05") == b"03\tv3\n04\tv4\n"
    assert run("scan", path, "18") == b"18\tv18\n19\tv19\n"
    assert run("scan", path, "--prefix", "1", "--limit", 2, "--reverse") == b"19\tv19\n18\tv18\n"
    assert run("scan", path, "-k", "-n", 1) == b"00\n"
    assert run("scan", path, "-n", 0) == b""
    lines = run("scan", path, "--prefix", "1", "--json").splitlines()
    assert json.loads(lines[0]) == {"key": "10", "value": "v10"}
    assert run("scan", path, "3033", "3034", "-e", "hex") == b"3033\t7633\n"
    run("scan", path, "-n", -1, code=USAGE)


def test_info(path: Path) -> None:
    with aurora.open(path) as db:
        db.put(b"k", b"v")
        db.table("t").put(b"k", b"v")
    told = facts("info", path)
    assert told["writable"]
    assert told["write_error"] is None
    assert [s["state"] for s in told["segments"]] == ["ok"] * 6
    assert told["records_in_database"] == 1
    text = run("info", path).decode()
    assert told["volume_id"] in text
    assert text.count("zone ") == 6


def test_load_formats(path: Path, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text('id,name\r\n1,"Ann, A"\r\n2,Bob\r\n')
    assert facts("load", path, tmp_path / "f.csv", "--key", "id", "-t", "csv")["records"] == 2
    assert json.loads(run("get", path, "1", "-t", "csv")) == {"id": "1", "name": "Ann, A"}
    (tmp_path / "f.tsv").write_text("a\tb\tc\n1\t2\t3\n")
    run("load", path, tmp_path / "f.tsv", "-k", "a", "-k", "b", "--separator", ":", "-t", "tsv")
    assert run("scan", path, "-t", "tsv", "--keys-only") == b"1:2\n"
    (tmp_path / "f.jsonl").write_text('{"n": 1, "x": [1]}\n\n{"n": 2}\n')
    run("load", path, tmp_path / "f.jsonl", "-k", "n", "-t", "json")
    assert json.loads(run("get", path, "1", "-t", "json")) == {"n": 1, "x": [1]}
    given = b"k1\tv1\nk2\tv2\twith tab\r\n\xff\t\x00\n"
    assert facts("load", path, given=given)["records"] == 3
    assert run("get", path, "k2") == b"v2\twith tab\n"
    assert run("get", path, "ff", "-e", "hex") == b"00\n"
    # In many small transactions, from a pipe, with the format named.
    rows = b"id\n" + b"".join(b"%d\n" % number for number in range(100))
    loaded = run("load", path, "-", "-f", "csv", "-k", "id", "--batch", 7, "-t", "many", given=rows)
    assert b"100 records" in loaded
    assert facts("info", path)["tables"]["many"] == 100


def test_load_big_fields(path: Path) -> None:
    """A field beyond the limit of Python's csv module by default."""
    rows = b"id,text\n1," + b"x" * 500_000 + b"\n"
    assert facts("load", path, "-f", "csv", "-k", "id", given=rows)["records"] == 1


REFUSED_LOADS: list[tuple[list[str], bytes]] = [
    (["-f", "csv"], b"a\n1\n"),
    (["-f", "csv", "-k", "none"], b"a\n1\n"),
    (["-f", "csv", "-k", "a"], b"a\n\xff\xfe\n"),
    (["-f", "csv", "-k", "a"], b'a\n"1\n'),
    (["-f", "jsonl"], b"not json\n"),
    (["-f", "jsonl"], b"[1]\n"),
    (["-f", "jsonl"], b"7\n"),
    (["-f", "jsonl", "-k", "a"], b"7\n"),
    (["-f", "jsonl"], b'{"key": 1, "value": 2}\n'),
    (["-f", "jsonl"], b'{"key_base64": "!", "value": "v"}\n'),
    (["-f", "jsonl"], b'{"key_base64": 5, "value": "v"}\n'),
    (["-f", "jsonl", "-k", "a"], b'{"b": 1}\n'),
    ([], b"no tab\n"),
    (["-f", "xml"], b""),
    (["--batch", "0"], b""),
    ([], bytes(1025) + b"\tv\n"),
]


@pytest.mark.parametrize(("options", "given"), REFUSED_LOADS, ids=range(len(REFUSED_LOADS)))
def test_load_refuses(path: Path, options: list[str], given: bytes) -> None:
    run("load", path, *options, given=given, code=USAGE)


def test_load_keeps_the_records_before_a_bad_line(path: Path) -> None:
    run("load", path, "--batch", 1, given=b"a\t1\nb\t2\nbad\nc\t3\n", code=USAGE)
    assert run("scan", path, "-k") == b"a\nb\n"
    run("load", path, "/does/not/exist", code=USAGE)


def test_dump_and_load_again(path: Path, tmp_path: Path) -> None:
    rng = seeded("dump")
    with aurora.open(path) as db:
        db.put_many({rng.randbytes(8): rng.randbytes(20) for _ in range(50)} | {b"text": b"text"})
        db.table("t ü").put_many({b"k": b"\xff", b"": b""})
        expected = [list(db.scan()), list(db.table("t ü").scan())]
    run("dump", path, "--all-tables", "-o", tmp_path / "all.jsonl")
    run("load", tmp_path / "again", tmp_path / "all.jsonl")
    with aurora.open(tmp_path / "again") as db:
        assert [list(db.scan()), list(db.table("t ü").scan())] == expected
    lines = run("dump", path, "--table", "t ü").splitlines()
    assert [json.loads(line) for line in lines][1] == {"key": "k", "value_base64": "/w=="}
    assert len(run("dump", path).splitlines()) == 51
    run("dump", path, "-t", "none", code=NOT_FOUND)
    run("dump", path, "-t", "t ü", "--all-tables", code=USAGE)


def spoil_all_copies(path: Path, value: bytes) -> None:
    """Overwrites a value where it lies in the layer and log of every copy."""
    for copy in range(6):
        for file in segment_folder(path, copy).iterdir():
            held = file.read_bytes()
            while file.name.startswith(("layer", "log")) and value in held:
                held = held.replace(value, bytes(len(value)))
                file.write_bytes(held)


def test_dump_saves_what_damage_spared(path: Path, tmp_path: Path) -> None:
    """Blocks that are bad in all six copies cost what is in them, and the command names it."""
    rng = seeded("spared")
    records = {b"%05d" % number: rng.randbytes(300) for number in range(3000)}
    records |= {b"0%d big" % number: rng.randbytes(40_000) for number in range(3)}
    rows = {b"row %d" % number: b"x" for number in range(100)}
    with aurora.open(path) as db:
        db.put_many(records)
        db.table("t").put_many(rows)
        compact_all(db)
    victims = [b"00500", b"01111", b"02222"]
    for victim in victims:
        spoil_all_copies(path, records[victim])
    spoil_all_copies(path, records[b"01 big"][20_000:20_100])
    with aurora.open(path) as db:
        readable = {}
        for key, value in records.items():
            with suppress(aurora.CorruptionError):
                assert db[key] == value
                readable[key] = value
        with pytest.raises(aurora.CorruptionError):
            list(db.scan())
    assert not {*victims, b"01 big"} & readable.keys()
    assert 2700 < len(readable) < len(records)
    file = tmp_path / "saved.jsonl"
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "dump", path, "--all-tables", "-o", file],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert ended.returncode == DAMAGED
    lines = ended.stderr.decode().splitlines()
    told = [line for line in lines if line.startswith("aurora-engine: lost in the database: ")]
    assert_gaps_are_named(told, sorted(records), readable)
    run("load", tmp_path / "again", file)
    with aurora.open(tmp_path / "again") as db:
        assert dict(db.scan()) == readable
        assert dict(db.table("t").scan()) == rows
    assert run("dump", path, "-t", "t").count(b"\n") == len(rows)


def test_dump_of_a_table_without_a_root(path: Path) -> None:
    """What is lost as a whole is named as a whole, and the database itself is saved."""
    rng = seeded("root")
    value = rng.randbytes(200)
    with aurora.open(path) as db:
        db.put_many({b"%05d" % number: rng.randbytes(300) for number in range(1000)})
        db.table("t")[b"k"] = value
        compact_all(db)
    spoil_all_copies(path, value)
    assert run("dump", path, "-t", "t", code=DAMAGED) == b""
    assert run("dump", path, "--all-tables", code=DAMAGED).count(b"\n") > 900


def assert_gaps_are_named(told: list[str], keys: list[bytes], readable: dict[bytes, bytes]) -> None:
    """One line for each run of keys that cannot be read, with the keys beside it."""
    expected = []
    for is_there, run_of in groupby(keys, key=readable.__contains__):
        lost = list(run_of)
        if is_there:
            continue
        if lost == [b"01 big"]:
            expected.append('the value of {"key": "01 big"}')
            continue
        first, last = keys.index(lost[0]), keys.index(lost[-1])
        after, before = keys[first - 1].decode(), keys[last + 1].decode()
        expected.append(f'what is between {{"key": "{after}"}} and {{"key": "{before}"}} (')
    assert len(told) == len(expected)
    for line, wanted in zip(told, expected, strict=True):
        assert wanted in line


def test_verify_and_repair(path: Path) -> None:
    with aurora.open(path) as db:
        db.put_many({b"%d" % number: bytes(100) for number in range(500)})
        db.compact()
    assert facts("verify", path)["ok"]
    assert b"all is well" in run("verify", path)
    assert b"every copy is good" in run("repair", path)
    flip(segment_folder(path, 1), seeded("cli"))
    shutil.rmtree(segment_folder(path, 4))
    told = facts("verify", path, code=DAMAGED)
    assert not told["ok"]
    assert len(told["errors"]) >= 2
    assert b"damage" in run("verify", path, code=DAMAGED)
    assert len(facts("info", path)["segments"]) == 6
    told = facts("repair", path)
    assert told == {
        "rebuilt": [str(segment_folder(path, 1)), str(segment_folder(path, 4))],
        "left": [],
    }
    assert facts("verify", path)["ok"]


def test_repair_that_cannot(path: Path) -> None:
    """The others are rebuilt, what is left is printed, and the exit code says why."""
    with aurora.open(path) as db:
        db.put(b"k", b"v")
    shutil.rmtree(path / "a")
    (path / "a").write_bytes(b"not a folder")
    shutil.rmtree(segment_folder(path, 5))
    told = json.loads(run("repair", path, "--json", code=IO))
    assert told == {
        "rebuilt": [str(segment_folder(path, 5))],
        "left": [str(segment_folder(path, 0)), str(segment_folder(path, 1))],
    }
    assert run("repair", path, code=IO).splitlines() == [
        b"rebuilt 0 of 2 copies",
        f"not rebuilt: {segment_folder(path, 0)}".encode(),
        f"not rebuilt: {segment_folder(path, 1)}".encode(),
    ]
    (path / "a").unlink()
    run("repair", path)
    assert run("repair", path) == b"every copy is good\n"


def test_locked(path: Path) -> None:
    with aurora.open(path) as db:
        for command in (["info"], ["get", "k"], ["put", "k", "v"], ["verify"], ["scan"], ["dump"]):
            run(command[0], path, *command[1:], code=LOCKED)
        db.put(b"k", b"v")


def test_lost_copies(path: Path) -> None:
    with aurora.open(path) as db:
        db.put(b"k", b"v")
        db.table("t").put(b"k", b"t")
    for copy in range(3):
        shutil.rmtree(segment_folder(path, copy))
    assert run("get", path, "k") == b"v\n"
    assert run("get", path, "k", "-t", "t") == b"t\n"
    assert not facts("info", path)["writable"]
    assert b"not writable" in run("info", path)
    assert len(run("dump", path, "--all-tables").splitlines()) == 2
    run("put", path, "k", "w", code=QUORUM)
    run("delete", path, "k", code=QUORUM)
    run("load", path, given=b"k\tv\n", code=QUORUM)
    shutil.rmtree(segment_folder(path, 3))
    run("get", path, "k", code=QUORUM)
    run("repair", path, code=QUORUM)


def test_no_volume(path: Path, tmp_path: Path) -> None:
    for command in (["info"], ["get", "k"], ["delete", "k"], ["scan"], ["dump"], ["verify"]):
        run(command[0], path, *command[1:], code=IO)
    assert not path.exists()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("x")
    run("info", tmp_path / "foreign", code=DAMAGED)
    run("create", tmp_path / "foreign", code=DAMAGED)
    run("create", tmp_path / "foreign" / "file", code=IO)
    run("nonsense", path, code=USAGE)


@pytest.mark.parametrize("lines", [0, 1])
@pytest.mark.parametrize("command", ["scan", "dump", "info", "verify", "history"])
def test_a_reader_that_goes_away(path: Path, command: str, lines: int) -> None:
    """``scan | head``: nothing is said when the pipe is closed, and the exit code tells it."""
    with aurora.open(path) as db:
        db.put_many({b"%06d" % number: bytes(200) for number in range(5000)})
    arguments = [sys.executable, "-c", PROGRAM, command, str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    # Of a short output everything may have been taken already.
    assert process.returncode in ((UNREAD,) if lines == 0 or command in LONG else (UNREAD, DONE))


def test_output_that_cannot_be_written(path: Path, tmp_path: Path) -> None:
    missing = tmp_path / "no directory" / "file"
    run("dump", path, "-o", tmp_path / "early", code=IO)
    assert not (tmp_path / "early").exists()
    with aurora.open(path) as db:
        db.put_many({b"%06d" % number: bytes(200) for number in range(5000)})
    run("dump", path, "-o", missing, code=IO)
    run("dump", path, "-o", tmp_path, code=IO)
    run("dump", path, "-o", "/dev/full", code=IO)
    run("dump", path, "-o", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == run("dump", path)


def _is_read(pipe: int) -> bool:
    """Whether the other end has taken everything out of a pipe."""
    unread = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, unread)
    return unread[0] == 0


def test_interrupted(path: Path) -> None:
    """Ctrl-C while ``load`` waits for pairs from standard input."""
    command = [sys.executable, "-c", PROGRAM, "load", str(path), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"key\tvalue\n")
        process.stdin.flush()
        until(partial(_is_read, process.stdin.fileno()), "it waits for the second pair", seconds=20)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"aurora-engine: interrupted\n"
        assert process.wait() == INTERRUPTED
    with aurora.open(path) as db:
        assert len(db) == 0


# ---- time ----


def made_history(path: Path) -> list[int]:
    with aurora.open(path) as db:
        lsns = [db.put(b"n", b"%d" % n) for n in range(5)]
        db.table("side")[b"k"] = b"v"
    return lsns


def test_reading_the_past(path: Path) -> None:
    lsns = made_history(path)
    assert run("get", path, "n", "--at", lsns[2]) == b"2\n"
    assert run("get", path, "n", "--at", "0s") == b"4\n"
    assert run("scan", path, "--at", lsns[1]) == b"n\t1\n"
    assert json.loads(run("dump", path, "--at", lsns[3])) == {"key": "n", "value": "3"}
    assert len(run("dump", path, "--all-tables").splitlines()) == 2
    assert len(run("dump", path, "--all-tables", "--at", lsns[3]).splitlines()) == 1
    run("get", path, "k", "--table", "side", "--at", lsns[2], code=NOT_FOUND)
    run("get", path, "n", "--at", "2001-01-01T00:00:00Z", code=TOO_OLD)
    run("get", path, "n", "--at", "2999-01-01", code=USAGE)
    run("get", path, "n", "--at", "yesterday", code=USAGE)


def test_backtrack_asks_first(path: Path) -> None:
    lsns = made_history(path)
    planned = facts("backtrack", path, "--to", lsns[1], "--dry-run")
    assert (planned["to_lsn"], planned["lost_commits"], planned["dry_run"]) == (lsns[1], 5, True)
    run("backtrack", path, "--to", lsns[1], given=b"n\n", code=NOT_FOUND, complaints=2)
    assert run("get", path, "n") == b"4\n"
    said = run("backtrack", path, "--to", lsns[1], given=b"y\n").decode()
    undo = int(said.split("--to ")[1])
    assert run("get", path, "n") == b"1\n"
    assert facts("backtrack", path, "--yes", "--to", undo)["lost_commits"] == 0
    assert run("get", path, "n") == b"4\n"
    history = facts("history", path)
    assert [each["to_lsn"] for each in history["rewinds"]] == [lsns[1], planned["from_lsn"]]
    assert run("history", path).count(b"\n") == 3
    run("backtrack", path, "--to", "9999999999", code=USAGE)


def test_clone_and_explain_retention(path: Path, tmp_path: Path) -> None:
    lsns = made_history(path)
    made = facts("clone", path, tmp_path / "clone", "--at", lsns[2])
    assert made["parent_lsn"] == lsns[2]
    assert run("get", tmp_path / "clone", "n") == b"2\n"
    run("clone", path, tmp_path / "clone", code=USAGE)
    assert b"made a clone" in run("clone", path, tmp_path / "other")
    report = facts("explain-retention", path)
    assert report["cause"] == "creation"
    assert len(report["copies"]) == 6
    assert report["totals"]["total_bytes"] == sum(c["total_bytes"] for c in report["copies"])
    assert run("explain-retention", path).count(b"\n") >= 12
