"""A recovery that dies when its truncation has reached a minority of the copies, on real segments.

Copies 0, 1 and 2 take part in it; copies 3, 4 and 5, which are away, alone hold the newest commit.
The state machine's part is in tests/python/test_recovery_machine.py.
"""

from __future__ import annotations

import pytest
from tests.simulation.cluster import Cluster
from tests.simulation.storage import COPIES

from aurora_engine.volume.members import Driver
from aurora_engine.volume.messages import Action, Place, Truncate
from aurora_engine.volume.recovery import Recovery

SEEN, UNSEEN = (0, 1, 2), (3, 4, 5)
SEEDS = range(5)


class CutShort(Cluster):
    """A volume on which that has just happened; every process is down."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        for _ in range(5):
            self.commit()
        self.settle()
        self.vdl_without = self.engine.status().vdl
        self.commit()
        for copy in UNSEEN:
            while self.engine.step(0, copy):
                pass
        self._drop_engine()
        self.vdl_with = self.model.commits[-1][0]
        assert self.vdl_without < self.vdl_with
        self.truncated = self._truncate_two()
        for node in self.storage.nodes.values():
            self.storage.close(node)

    def _truncate_two(self) -> list[Place]:
        segments = {(0, copy): self.storage.nodes[0, copy].segment for copy in SEEN}
        driver = Driver({place: each for place, each in segments.items() if each is not None})
        machine = Recovery(groups=1, copies=COPIES, places=segments, now_us=1)
        done: list[Action] = []
        actions = machine.start()
        while sum(isinstance(action, Truncate) for action in done) < 2:
            action = actions.pop(self.source.randrange(len(actions)))
            actions += machine.reply(action, driver.carry_out(action))
            done.append(action)
        return [action.place for action in done if isinstance(action, Truncate)]

    def open_with(self, copies: set[int]) -> None:
        """Starts these copies and a writer; the recovery checks what it finds by the model."""
        for copy in sorted(copies):
            assert self.storage.open(self.storage.nodes[0, copy]) is None
        self.engine = self._new_engine()
        self.recover()

    def stop(self) -> None:
        """Every process is killed."""
        self._drop_engine()
        for node in self.storage.nodes.values():
            self.storage.close(node)

    def vdl(self) -> int:
        """What the last recovery opened at."""
        return self.engine.status().vdl

    def down(self) -> set[Place]:
        """Copies that did not come through the last recovery."""
        return {place for place, node in self.storage.nodes.items() if node.segment is None}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_next_recovery_sees_it(seed: int) -> None:
    """It counts: the three copies drop the commit that nobody was told of."""
    cluster = CutShort(seed)
    cluster.open_with({*range(COPIES)})
    assert cluster.vdl() == cluster.vdl_without
    assert cluster.down() == set()
    cluster.commit()
    cluster.settle()
    scls = {node.segment.state().scl for node in cluster.storage.nodes.values() if node.segment}
    assert scls == {cluster.vdl()}
    cluster.check_reads()
    cluster.check_structure()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("goes_on", [True, False], ids=["with more commits", "at once"])
def test_the_next_recovery_does_not_see_it(seed: int, goes_on: bool) -> None:
    """It is overruled: what the others then serve stays, and the two copies are made anew."""
    cluster = CutShort(seed)
    stale = {copy for _, copy in cluster.truncated}
    cluster.open_with({*range(COPIES)} - stale)
    assert cluster.vdl() == cluster.vdl_with
    if goes_on:
        cluster.commit()
        cluster.settle()
    vdl = cluster.vdl()
    cluster.stop()
    cluster.open_with({*range(COPIES)})
    assert cluster.vdl() == vdl
    assert cluster.down() == {*cluster.truncated}
    while cluster.down():
        cluster.repair()
    cluster.commit()
    cluster.settle()
    cluster.stop()
    cluster.open_with({*stale, min({*range(COPIES)} - stale)})
    cluster.check_reads()
    cluster.check_structure()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stale_copy_that_joins_a_running_writer_fails_alone(seed: int) -> None:
    """It believes that frames were dropped which the others serve: it is sent away (I8)."""
    cluster = CutShort(seed)
    place = cluster.truncated[0]
    cluster.open_with({*range(COPIES)} - {copy for _, copy in cluster.truncated})
    node = cluster.storage.nodes[place]
    assert cluster.storage.open(node) is None
    node.suspect = True
    cluster._join(node)
    assert node.segment is None
    cluster.commit()
    cluster.settle()
    assert cluster.engine.status().write_error is None
    assert cluster.engine.copy_status(*place).state == "failed"
    assert cluster.vdl() == cluster.model.commits[-1][0]
    cluster.check_reads()
    cluster.check_structure()
