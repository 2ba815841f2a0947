"""One simulated volume, and everything that can happen to it: a writer over six storage nodes.

Promises that hold while at most two copies of a group are suspect or away: nothing acknowledged is
lost, writes go on. With three away everything acknowledged can still be read. The schedule never
goes beyond that, so every refusal and every wrong byte is a violation.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.model import Violation
from tests.simulation.past import PastActions
from tests.simulation.storage import COPIES, GROUP_PAGES, LYING_FAULTS, Node
from tests.simulation.world import LARGE_CACHE_BYTES, TORN_KEY

from aurora_engine._ext.segment import Segment
from aurora_engine._ext.transaction import Txn
from aurora_engine.errors import AuroraError, CorruptionError
from aurora_engine.volume.lineage import lineage_of
from aurora_engine.volume.members import joined, surveyed

AWAY_MAX = 2
BIG_VALUE_BYTES = 3 << 20
TORN_VALUE_BYTES = 3000


class Cluster(PastActions):
    """The world, its faults, and the schedule that picks from what the writer and they do."""

    # ---- faults ----

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

    def rot_a_layer(self) -> None:
        """A bit rots in a layer, and every page is read from that copy and from a good one.

        The copy may say that it cannot; what it returns is right (I5).
        """
        self.settle()
        node = self._victim()
        peer = None if node is None else self._good_peer(node)
        if node is None or node.segment is None or peer is None:
            return
        layers = [name for name in sorted(node.disk.list()) if name.startswith("layer-")]
        if not layers:
            return
        node.suspect = True
        name = self.source.choice(layers)
        node.disk.flip(name)
        read_point = min(node.segment.state().scl, peer.state().scl)
        refused = 0
        for page_id in range(node.group * GROUP_PAGES, (node.group + 1) * GROUP_PAGES):
            try:
                page = node.segment.read_page(page_id, read_point)
            except CorruptionError:
                refused += 1
                continue
            if page != peer.read_page(page_id, read_point):
                raise Violation(
                    f"I5: page {page_id} came out of a rotten {name} as if it were good"
                )
        self.note("rot", node.group, node.copy, name, refused)

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

    def _good_peer(self, node: Node) -> Segment | None:
        """The other copy of the node's group that reaches furthest, of those with a good disk."""
        good = [
            peer.segment
            for peer in self.storage.nodes.values()
            if peer.group == node.group
            and peer is not node
            and not peer.suspect
            and not self._failed(peer)
            if peer.segment is not None
        ]
        return max(good, key=lambda segment: segment.state().scl, default=None)

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
        peer = self._good_peer(node)
        if peer is None:
            return
        self.engine.replace(node.group, node.copy, None)
        error = self.storage.rebuild(node, peer)
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

    def lose_power(self) -> None:
        """Everything goes down; of what was not durable some is kept, lost or torn."""
        self.crash(power_cut=True)

    def kill(self) -> None:
        """The process is killed; what it wrote is there."""
        self.crash(power_cut=False)

    def crash_inside_an_operation(self) -> None:
        """A disk loses power inside one of its next operations; the rest goes down with it."""
        node = self.source.choice(list(self.storage.nodes.values()))
        if node.segment is None:
            return
        node.disk.crash_after(self.source.randrange(6))
        for _ in range(self.source.randrange(20)):
            self.engine.step(node.group, node.copy)
            try:
                if not node.segment.work():
                    node.segment.tidy(True)
            except AuroraError:
                break
        self.model.saw_vdl(self.engine.status().vdl)
        self.crash(power_cut=True)

    def tear_a_frame(self) -> None:
        """Power is cut while the first copy writes the frame of a commit, and only that copy.

        The commit is there whole after that, or not at all (I2).
        """
        self.settle()
        transaction = Txn(self.engine)
        value = self.source.randbytes(TORN_VALUE_BYTES)
        transaction.put(None, TORN_KEY, value)
        self._torn_values.add(value)
        self._commit(transaction, {TORN_KEY: value})
        copy = self.source.randrange(COPIES)
        for group in range(self.storage.groups):
            self.storage.nodes[group, copy].disk.crash_after(0)
            self.engine.step(group, copy)
        self.model.saw_vdl(self.engine.status().vdl)
        self.note("tear", copy)
        self.lose_power()

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

    # ---- the schedule ----

    def run(self, steps: int) -> str:
        """Runs a schedule of ``steps`` actions; returns the digest of the trace."""
        schedule: list[tuple[Callable[[], None], int]] = [
            (self.commit, 30),
            (self.step, 150),
            (self.commit_big, 1),
            (self.settle, 2),
            (self.background, 25),
            (self.tidy, 3),
            (self.tick, 5),
            (self.check_reads, 5),
            (self.look_back, 4),
            (self.look_again, 4),
            (self.raise_horizon, 1),
            (self.backtrack, 2),
            (self.check_structure, 1),
            (self.spoil_disk, 1),
            (self.flip_at_rest, 1),
            (self.rot_a_layer, 1),
            (self.fill_disk, 1),
            (self.kill_disk, 1),
            (self.restart_node, 3),
            (self.repair, 10),
            (self.lose_power, 1),
            (self.kill, 1),
            (self.crash_inside_an_operation, 2),
            (self.tear_a_frame, 2),
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
