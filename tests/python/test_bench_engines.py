"""Every engine of the macro benchmarks does what a dict does, as far as it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.file_systems import cannot_run
from tests.volumes import seeded

np = pytest.importorskip("numpy")

from aurora_engine.bench.engines.base import Engine  # noqa: E402
from aurora_engine.bench.engines.registry import ENGINES, engine_type  # noqa: E402

CACHE_BYTES = 8 << 20
EMBEDDED = ("aurora", "aurora-single", "lmdb", "rocksdb", "leveldb", "sqlite")
SERVERS = ("mariadb", "postgresql")


def opened(name: str, folder: Path) -> Engine:
    kind = engine_type("key-value", name)
    lacking = kind.missing()
    if lacking:
        cannot_run(lacking)
    engine: Any = kind(folder, cache_bytes=CACHE_BYTES)
    return engine


@pytest.fixture(params=EMBEDDED + SERVERS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = opened(request.param, tmp_path / "engine")
    yield made
    made.close()


def test_an_engine_is_a_dict(engine: Engine) -> None:
    source, model = seeded("bench engines"), {}
    engine.load([[(b"%04d" % number, b"loaded") for number in range(0, 100, 2)]] * 2)
    model.update({b"%04d" % number: b"loaded" for number in range(0, 100, 2)})
    session = engine.session()
    for _ in range(200):
        key, value = b"%04d" % source.randrange(120), source.randbytes(source.randrange(1, 200))
        if source.random() < 0.5:
            session.put(key, value)
            model[key] = value
        else:
            pairs = [(key, value), (b"%04d" % source.randrange(120), value[::-1])]
            session.put_batch(pairs)
            model.update(pairs)
    engine.settle()
    assert session.get(b"9999") is None
    for number in range(120):
        assert session.get(b"%04d" % number) == model.get(b"%04d" % number)
    asked = [b"%04d" % source.randrange(130) for _ in range(50)]
    assert list(session.get_many(asked)) == [model.get(key) for key in asked]
    in_order = sorted(model.items())
    assert [tuple(pair) for pair in session.scan(b"", 1000)] == in_order
    for start in (b"0000", b"0031", b"0050x", b"9999"):
        expected = [pair for pair in in_order if pair[0] >= start][:7]
        assert [tuple(pair) for pair in session.scan(start, 7)] == expected
    assert engine.count() == len(model)
    session.close()


@pytest.mark.parametrize("name", EMBEDDED + SERVERS)
def test_what_was_put_is_there_when_opened_again(name: str, tmp_path: Path) -> None:
    for round_ in range(2):
        engine = opened(name, tmp_path / "engine")
        session = engine.session()
        assert session.get(b"key") == (None if round_ == 0 else b"value")
        session.put(b"key", b"value")
        session.close()
        engine.close()


def test_every_engine_tells_its_version_and_settings() -> None:
    for name in EMBEDDED + SERVERS:
        kind = engine_type("key-value", name)
        if kind.missing() is None:
            assert kind.name == name
            assert any(letter.isdigit() for letter in kind.version())
            assert all(isinstance(value, str) for value in kind.settings(CACHE_BYTES).values())
    assert set(EMBEDDED) <= set(ENGINES["key-value"])


@pytest.mark.parametrize("name", ["bare-one", "bare-six", "bare-six-one-flush"])
def test_the_bare_programs_count_commits(name: str, tmp_path: Path) -> None:
    kind: Any = engine_type("key-value", name)
    if kind.missing():
        pytest.skip(kind.missing())
    bare = kind(tmp_path / "bare", cache_bytes=CACHE_BYTES)
    for threads in (1, 5):
        sample = bare.commits(threads, 0.05)
        assert sample.details["operations"] >= threads
        assert sample.value > 0
