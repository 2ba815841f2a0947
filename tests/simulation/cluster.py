"""One simulated volume: a writer over six storage nodes, and everything that can happen to it.

Promises that hold while at most two copies of a group are suspect or away: nothing acknowledged is
lost, writes go on.
With three away everything acknowledged can still be read. The schedule never goes beyond that, so
every refusal and
every wrong byte is a violation.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable

from tests.simulation.model import Model, Violation
from tests.simulation.past import PastActions
from tests.simulation.storage import (
    COPIES,
    GROUP_PAGES,
    LYING_FAULTS,
    PAGE_BYTES,
    Node,
    Storage,
    new_volume_id,
)

from aurora_engine._ext.cursor import Cursor
from aurora_engine._ext.engine import Engine, VirtualClock
from aurora_engine._ext.records import NeedsGroups
from aurora_engine._ext.transaction import Txn
from aurora_engine.errors import AuroraError, CorruptionError, QuorumLostError
from aurora_engine.volume.history import History
from aurora_engine.volume.lineage import lineage_of
from aurora_engine.volume.members import Driver, joined, surveyed
from aurora_engine.volume.messages import Place
from aurora_engine.volume.recovery import Recovered, Recovery

AWAY_MAX = 2
SMALL_CACHE_BYTES = 1 << 20
LARGE_CACHE_BYTES = 256 << 20
BIG_VALUE_BYTES = 3 << 20
KEYS = 400


class Cluster(PastActions):
    """The volume, its model, and the actions that a schedule picks from.

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
        super().__init__()
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

    def commit_big(self) -> None:
        """A transaction of several boxcars over several protection groups, of which one lags.

        Its boxcars fly together, and the last may land first; often everything dies before the
        lagging group has caught up.
        """
        if self._cache_bytes < LARGE_CACHE_BYTES:
            return
        self.settle()
        transaction = Txn(self.engine)
        key, value = b"big", self.source.randbytes(1000) * (BIG_VALUE_BYTES // 1000)
        transaction.put(None, key, value)
        self._commit(transaction, {key: value})
        groups = range(self.storage.groups)
        waiting = [g for g in groups if self.engine.copy_status(g, 0).queued_bytes > 0]
        lagging = self.source.choice(waiting or [0])
        self._step_all(group for group in groups if group != lagging)
        self.model.saw_vdl(self.engine.status().vdl)
        self.note("big", lagging, self.engine.status().vdl)
        if self.source.random() < 0.5:
            self.crash(power_cut=self.source.random() < 0.5)

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

    @staticmethod
    def _difference(
        read_point: int, found: dict[bytes, bytes], expected: dict[bytes, bytes]
    ) -> str:
        missing = sorted(expected.keys() - found.keys())[:3]
        extra = sorted(found.keys() - expected.keys())[:3]
        wrong = sorted(
            key for key in found.keys() & expected.keys() if found[key] != expected[key]
        )[:3]
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

    # ---- faults ----

    def spoil_disk(self) -> None:
        """A disk begins to fail or to lie."""
        node = self._victim()
        if node is None:
            return
        node.suspect = True
        rates = {
            fault: self.source.choice((0, 20_000, 200_000))
            for fault in (*LYING_FAULTS, "write_error_ppm")
        }
        rates |= {
            fault: self.source.choice((0, 0, 5_000))
            for fault in ("read_error_ppm", "sync_error_ppm")
        }
        node.disk.set_rates(**rates)
        self.note("spoil", node.group, node.copy, sorted(rates.items()))

    def flip_at_rest(self) -> None:
        """A bit rots in one file of a copy."""
        node = self._victim()
        if node is None:
            return
        node.suspect = True
        name = self.source.choice(sorted(node.disk.list()))
        self.note("flip", node.group, node.copy, name, node.disk.flip(name))

    def fill_disk(self) -> None:
        """A disk runs full."""
        node = self._victim()
        if node is None:
            return
        node.suspect = True
        node.disk.set_space(self.source.randrange(200_000))
        self.note("full", node.group, node.copy)

    def kill_disk(self) -> None:
        """A disk is gone for good."""
        node = self._victim()
        if node is None:
            return
        self.engine.replace(node.group, node.copy, None)
        self.storage.replace_disk(node)
        self.note("lost disk", node.group, node.copy)

    def _victim(self) -> Node | None:
        node = self.source.choice(list(self.storage.nodes.values()))
        if node.suspect or node.segment is None or self._doubtful(node.group) >= AWAY_MAX:
            return None
        return node

    def restart_node(self) -> None:
        """A storage node goes down with a power cut and comes back."""
        node = self.source.choice(list(self.storage.nodes.values()))
        if node.segment is None or (not node.suspect and self._doubtful(node.group) >= AWAY_MAX):
            return
        self.engine.replace(node.group, node.copy, None)
        self.storage.power_cut(node)
        error = self.storage.open(node)
        if error is not None:
            self._must_be_suspect(node, error)
        self._join(node)
        self.note("restarted node", node.group, node.copy, node.segment is not None)

    def repair(self) -> None:
        """A copy that is away or suspect is rebuilt from a good one."""
        bad = [
            node
            for node in self.storage.nodes.values()
            if node.suspect or node.segment is None or self._failed(node)
        ]
        if not bad:
            return
        node = self.source.choice(bad)
        good = [
            peer.segment
            for peer in self.storage.nodes.values()
            if peer.group == node.group
            and peer is not node
            and not peer.suspect
            and not self._failed(peer)
            if peer.segment is not None
        ]
        if not good:
            return
        self.engine.replace(node.group, node.copy, None)
        error = self.storage.rebuild(node, max(good, key=lambda segment: segment.state().scl))
        if error is not None:
            raise Violation(f"a good copy cannot be copied: {error}")
        self._join(node)
        self.note("repaired", node.group, node.copy)

    def _join(self, node: Node) -> None:
        """What the coordinator does with a segment that comes back while a writer is serving."""
        if node.segment is None:
            return
        place = (node.group, node.copy)
        peers = [peer.segment for where, peer in self._up().items() if where != place]
        lineage = lineage_of(surveyed(peer for peer in peers if peer is not None))
        refused = joined(node.segment, place, lineage, self.engine.status().epoch)
        if refused is not None:
            self._must_be_suspect(node, refused)
            self.storage.close(node)
            return
        self.engine.replace(node.group, node.copy, node.segment)

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

    def crash_inside_an_operation(self) -> None:
        """A disk loses power inside one of its next operations; the rest goes down with it."""
        node = self.source.choice(list(self.storage.nodes.values()))
        if node.segment is None:
            return
        node.disk.crash_after(self.source.randrange(6))
        for _ in range(self.source.randrange(20)):
            self.engine.step(node.group, node.copy)
            try:
                node.segment.work()
            except AuroraError:
                break
        self.model.saw_vdl(self.engine.status().vdl)
        self.crash(power_cut=True)

    def lose_three(self) -> None:
        """Any three copies of each group are lost for good.

        Everything acknowledged is still read (I1).
        """
        if any(self._doubtful(group) for group in range(self.storage.groups)):
            return
        self._drop_engine()
        for group in range(self.storage.groups):
            for copy in self._three_to_lose(group):
                self.storage.replace_disk(self.storage.nodes[group, copy])
        self.note("lost three")
        self.engine = self._new_engine()
        self.recover()
        self._drop_engine()
        for node in list(self.storage.nodes.values()):
            if node.segment is None:
                peers = [self.storage.nodes[node.group, copy] for copy in range(COPIES)]
                whole = next(p.segment for p in peers if p.segment is not None and not p.suspect)
                error = self.storage.rebuild(node, whole)
                if error is not None:
                    raise Violation(f"a good copy cannot be copied: {error}")
        self.engine = self._new_engine()
        self.recover()

    def _three_to_lose(self, group: int) -> list[int]:
        """Any three, or the three that reach furthest: the worst choice."""
        if self.source.random() < 0.5:
            return self.source.sample(range(COPIES), 3)
        scls = {}
        for copy in range(COPIES):
            segment = self.storage.nodes[group, copy].segment
            scls[copy] = segment.state().scl if segment is not None else 0
        return sorted(scls, key=lambda copy: (-scls[copy], copy))[:3]

    def fail_over(self) -> None:
        """A second writer takes over while the first one is alive.

        The first must never complete a write again (I4).
        """
        self.close_views()
        self._zombies.append((self.engine, self.engine.status().vdl))
        self.engine = self._new_engine()
        self.note("fail over")
        self.recover()
        self.check_zombies()

    def check_zombies(self) -> None:
        """Old writers try to commit, and must not get anywhere."""
        for zombie, vdl in self._zombies:
            try:
                transaction = Txn(zombie)
                transaction.put(None, b"zombie", b"write")
                transaction.commit(False)
            except AuroraError as refused:
                self.note("zombie refused", type(refused).__name__)
            for group in range(self.storage.groups):
                for copy in range(COPIES):
                    while zombie.step(group, copy):
                        pass
            if zombie.status().vdl > vdl:
                raise Violation(
                    f"I4: a fenced writer completed a write: VDL {vdl} -> {zombie.status().vdl}"
                )
            zombie.close()
            zombie.destroy()
        self._zombies.clear()

    def _drop_engine(self) -> None:
        self.close_views()
        self.engine.close()
        self.engine.destroy()

    # ---- the schedule ----

    def run(self, steps: int) -> str:
        """Runs a schedule of ``steps`` actions; returns the digest of the trace."""
        schedule: list[tuple[Callable[[], None], int]] = [
            (self.commit, 30),
            (self.step, 150),
            (self.commit_big, 1),
            (self.settle, 2),
            (self.background, 25),
            (self.tick, 5),
            (self.check_reads, 5),
            (self.look_back, 4),
            (self.look_again, 4),
            (self.raise_horizon, 1),
            (self.backtrack, 2),
            (self.check_structure, 1),
            (self.spoil_disk, 1),
            (self.flip_at_rest, 1),
            (self.fill_disk, 1),
            (self.kill_disk, 1),
            (self.restart_node, 3),
            (self.repair, 10),
            (lambda: self.crash(power_cut=True), 1),
            (lambda: self.crash(power_cut=False), 1),
            (self.crash_inside_an_operation, 2),
            (self.lose_three, 2),
            (self.fail_over, 1),
        ]
        actions = [action for action, _ in schedule]
        weights = [weight for _, weight in schedule]
        for action in self.source.choices(actions, weights, k=steps):
            action()
            self.storage.check_never_retried()
        self.settle()
        self.check_reads()
        self.check_structure()
        self._drop_engine()
        for node in self.storage.nodes.values():
            self.storage.close(node)
        return self.trace.hexdigest()
