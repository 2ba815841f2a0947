"""The hot paths of the C core: redo apply, pages, checksums, frames, tree, pool, commits."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.micro.scenarios import Scenario, load_scenarios

ROUNDS = 20


@pytest.mark.parametrize(
    "scenario", load_scenarios(), ids=lambda scenario: f"{scenario.name}*{scenario.operations}"
)
def test_core(benchmark: BenchmarkFixture, scenario: Scenario) -> None:
    benchmark.group = scenario.layer
    benchmark.extra_info["operations"] = scenario.operations
    benchmark.pedantic(
        scenario.run,
        setup=scenario.prepare,
        teardown=scenario.finish,
        rounds=ROUNDS,
        warmup_rounds=1,
    )
