"""One simulated volume: its recovery, its writer, and the checks against the model."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

from tests.simulation.model import Model, Violation
from tests.simulation.storage import (
    COPIES,
    GROUP_PAGES,
    PAGE_BYTES,
    Node,
    Storage,
    new_volume_id,
)

from aurora_engine._ext.clock import VirtualClock
from aurora_engine._ext.cursor import Cursor
from aurora_engine._ext.engine import Engine
from aurora_engine._ext.records import NeedsGroups, RewindRecord
from aurora_engine._ext.transaction import Txn
from aurora_engine.errors import AuroraError, CorruptionError, QuorumLostError
from aurora_engine.volume.history import History
from aurora_engine.volume.members import Driver
from aurora_engine.volume.messages import Place
from aurora_engine.volume.recovery import Recovered, Recovery

SMALL_CACHE_BYTES = 1 << 20
LARGE_CACHE_BYTES = 256 << 20
KEYS = 400
TORN_KEY = b"torn"


class World:
    """The volume, its model, its writer, and the checks.

    Parameters
    ----------
    seed
        Replays the run.
    planted_bugs
        Bugs that the C core is asked to have (csrc/base/planted.h); needs a build with
        AURORA_PLANTED_BUGS.
    recovery
        The recovery to run; a test of the checkers passes a broken one.
    """

    def __init__(
        self, seed: int, *, planted_bugs: int = 0, recovery: type[Recovery] = Recovery
    ) -> None:
        self.source = random.Random(seed)
        self.model = Model()
        self.trace = hashlib.blake2b(digest_size=16)
        self._planted_bugs = planted_bugs
        self._recovery = recovery
        # With a small cache most reads come from segments; big transactions need a large one.
        self._cache_bytes = self.source.choice((SMALL_CACHE_BYTES, LARGE_CACHE_BYTES))
        self.clock = VirtualClock(1_000_000_000)
        self.storage = Storage(new_volume_id(self.source), self.source, planted_bugs)
        self.storage.add_group(0, 0)
        self.engine = self._new_engine()
        self._zombies: list[tuple[Engine, int]] = []
        self._torn_values: set[bytes] = set()
        self.rewinds: list[RewindRecord] = []
        self._commits = 0
        self.recover()

    # ---- bookkeeping ----

    def note(self, *facts: object) -> None:
        """Adds to the trace, whose digest shows that a seed replays exactly."""
        self.trace.update(repr(facts).encode())

    def _new_engine(self) -> Engine:
        return Engine(
            self.storage.volume_id,
            PAGE_BYTES,
            COPIES,
            GROUP_PAGES,
            self._cache_bytes,
            1 << 24,
            "manual",
            False,
            ungated=True,
            planted_bugs=self._planted_bugs,
            clock=self.clock,
        )

    def _up(self) -> dict[Place, Node]:
        return {
            place: node for place, node in self.storage.nodes.items() if node.segment is not None
        }

    def _doubtful(self, group: int) -> int:
        """Copies of a group of which nothing may be expected."""
        nodes = [node for node in self.storage.nodes.values() if node.group == group]
        return sum(node.suspect or node.segment is None or self._failed(node) for node in nodes)

    @staticmethod
    def _failed(node: Node) -> bool:
        return node.segment is not None and node.segment.state().health == "failed"

    # ---- recovery ----

    def run_recovery(self, *, interrupt_after: int | None = None) -> Recovered | AuroraError | None:
        """Runs the production state machine, replies in random order.

        None if it was interrupted.
        """
        segments = {
            place: node.segment for place, node in self._up().items() if node.segment is not None
        }
        driver = Driver(segments)
        machine = self._recovery(
            groups=self.storage.groups, copies=COPIES, places=segments, now_us=self.clock.now_us
        )
        actions = machine.start()
        done = 0
        while actions:
            if interrupt_after is not None and done >= interrupt_after:
                return None
            action = actions.pop(self.source.randrange(len(actions)))
            reply = driver.carry_out(action)
            self.note("recovery", type(action).__name__, action.place, type(reply).__name__)
            actions += machine.reply(action, reply)
            done += 1
        return machine.outcome

    def recover(self) -> None:
        """Opens the volume: recovery, then a new engine on the segments that took part."""
        if self.source.random() < 0.3:
            self.run_recovery(interrupt_after=self.source.randrange(1, 12))
        outcome = self.run_recovery()
        if isinstance(outcome, Recovered) and not outcome.writable and outcome.behind:
            self._rebuild_behind(outcome)
            outcome = self.run_recovery()
        if not isinstance(outcome, Recovered):
            raise Violation(
                f"I1: the volume does not open although a read quorum is whole: {outcome}"
            )
        self.note("recovered", outcome.epoch, outcome.vdl, outcome.writable)
        self.rewinds = list(outcome.rewinds)
        backtracks = [(each.at, each.to) for each in History(outcome.rewinds).backtracks]
        self.model.recovered(outcome.vdl, backtracks)
        for place, node in self._up().items():
            if place not in outcome.members:
                for zombie, _ in self._zombies:
                    zombie.replace(*place, None)
                self.storage.close(node)
        for group in range(self.storage.groups):
            self.engine.add_group(
                [self.storage.nodes[group, copy].segment for copy in range(COPIES)]
            )
        self.engine.start(
            outcome.epoch,
            outcome.vdl,
            outcome.next_lsn,
            outcome.time_us,
            list(outcome.group_lsns),
            rewinds=self.rewinds,
        )
        collected = [node.segment.state().horizon for node in self._up().values() if node.segment]
        self.engine.horizon = max(collected)
        if outcome.vdl == 0:
            self.settle()  # a new volume: its format has to become durable before it can be read
        self.check_reads()

    def _rebuild_behind(self, outcome: Recovered) -> None:
        """Copies that no peer's log can bring up to VDL are made anew from those that have it."""
        for place in sorted(outcome.behind):
            best = next(member for member in sorted(outcome.members) if member[0] == place[0])
            source = self.storage.nodes[best].segment
            for zombie, _ in self._zombies:
                zombie.replace(*place, None)
            if source is not None:
                self.storage.rebuild(self.storage.nodes[place], source)
        self.note("rebuilt behind", sorted(outcome.behind))

    def crash(self, *, power_cut: bool) -> None:
        """The whole process dies, with or without its machine; it comes back and recovers."""
        self._drop_engine()
        for node in list(self.storage.nodes.values()):
            if node.segment is None:
                continue
            if power_cut:
                self.storage.power_cut(node)
            else:
                self.storage.close(node)
            error = self.storage.open(node)
            if error is not None:
                self._must_be_suspect(node, error)
        self.note("crash", power_cut)
        self.engine = self._new_engine()
        self.recover()

    def _drop_engine(self) -> None:
        self.engine.close()
        self.engine.destroy()

    # ---- the writer ----

    def commit(self) -> None:
        """A transaction with a few writes; nobody waits for it."""
        transaction = Txn(self.engine)
        writes: dict[bytes, bytes | None] = {}
        for _ in range(self.source.randrange(1, 5)):
            key = b"%05d" % self.source.randrange(KEYS)
            if self.source.random() < 0.25:
                transaction.delete(None, key)
                writes[key] = None
            else:
                self._commits += 1
                value = b"%d:" % self._commits + self.source.randbytes(
                    self.source.choice((0, 20, 200, 1500, 6000))
                )
                transaction.put(None, key, value)
                writes[key] = value
        self._commit(transaction, writes)

    def _commit(self, transaction: Txn, writes: dict[bytes, bytes | None]) -> None:
        head = self.engine.status().head
        while True:
            try:
                lsn = transaction.commit(False)
                break
            except NeedsGroups as needs:
                self.grow(needs.groups)
            except QuorumLostError as refused:
                self.note("refused", str(refused))
                return
        if lsn > head:
            # Else it had nothing to change.
            self.model.commit(lsn, writes)
        self.note("commit", lsn, len(writes))

    def grow(self, groups: int) -> None:
        """Adds protection groups."""
        for group in range(self.storage.groups, groups):
            self.storage.add_group(group, self.engine.status().epoch)
            self.engine.add_group(
                [self.storage.nodes[group, copy].segment for copy in range(COPIES)]
            )

    def step(self) -> None:
        """One segment does its next piece of work."""
        group, copy = self.source.randrange(self.storage.groups), self.source.randrange(COPIES)
        moved = self.engine.step(group, copy)
        vdl = self.engine.status().vdl
        self.model.saw_vdl(vdl)
        self.note("step", group, copy, moved, vdl)

    def settle(self) -> None:
        """Steps until nothing moves."""
        self._step_all(range(self.storage.groups))
        self.model.saw_vdl(self.engine.status().vdl)

    def _step_all(self, groups: Iterable[int]) -> None:
        places = [(group, copy) for group in groups for copy in range(COPIES)]
        moved = [True]
        while any(moved):
            moved = [self.engine.step(group, copy) for group, copy in places]

    def background(self) -> None:
        """One segment flushes, merges or recycles."""
        node = self.source.choice(list(self.storage.nodes.values()))
        if node.segment is not None:
            try:
                self.note("work", node.group, node.copy, node.segment.work())
            except AuroraError as error:
                self.note("work failed", node.group, node.copy, type(error).__name__)
                self._must_be_suspect(node, error)

    def tidy(self) -> None:
        """The copies of a group that all have the same do what can wait."""
        group = self.source.randrange(self.storage.groups)
        nodes = [self.storage.nodes[group, copy] for copy in range(COPIES)]
        segments = [node.segment for node in nodes if node.segment is not None]
        if len(segments) < COPIES or len({each.state().scl for each in segments}) > 1:
            return
        for node in nodes:
            units = self.source.randrange(8)
            try:
                while units > 0 and node.segment is not None and node.segment.tidy(True):
                    units -= 1
            except AuroraError as error:
                self.note("tidying failed", node.group, node.copy, type(error).__name__)
                self._must_be_suspect(node, error)
        self.note("tidied", group)

    def tick(self) -> None:
        """Time passes, or jumps back."""
        self.clock.now_us += self.source.choice((1, 1000, 1_000_000, -500_000))

    # ---- checks ----

    def check_reads(self) -> None:
        """I2, I5, I6: a read-only transaction sees exactly the model at its read point."""
        view = Txn(self.engine, True)
        try:
            read_point = view.read_point
            expected = self.model.state_at(read_point)
            found = dict(Cursor(view, None))
            if found != expected:
                raise Violation(self._difference(read_point, found, expected))
            for key in self.source.sample(sorted(expected), min(5, len(expected))):
                if view.get(None, key) != expected[key]:
                    raise Violation(f"I6: get {key!r} at {read_point} differs from the scan")
            self.note("read", read_point, len(found))
        except (CorruptionError, QuorumLostError) as error:
            raise Violation(
                f"I5: damage reached a reader although a good copy exists: {error}"
            ) from error
        finally:
            view.rollback()

    def _difference(
        self, read_point: int, found: dict[bytes, bytes], expected: dict[bytes, bytes]
    ) -> str:
        missing = sorted(expected.keys() - found.keys())[:3]
        extra = sorted(found.keys() - expected.keys())[:3]
        wrong = sorted(
            key for key in found.keys() & expected.keys() if found[key] != expected[key]
        )[:3]
        if TORN_KEY in wrong and found[TORN_KEY] not in self._torn_values:
            return f"I2: read at {read_point}: half of a write that power cut off came back"
        return f"I6: read at {read_point}: missing {missing}, too many {extra}, wrong value {wrong}"

    def _must_be_suspect(self, node: Node, error: AuroraError) -> None:
        if not node.suspect:
            raise Violation(
                f"copy {node.copy} of group {node.group} failed although its disk is good: {error}"
            )

    def check_structure(self) -> None:
        """Every tree is whole."""
        try:
            self.engine.verify()
        except AuroraError as error:
            raise Violation(f"I6: the trees do not verify: {error}") from error
