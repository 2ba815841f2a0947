"""The process that gets killed: ``python -m tests.crash.writer PATH SEED GROUP_BYTES FIRST...``.

One thread for each FIRST, which is the number of the step that it begins with. What a thread does
in each step follows from the seed alone (`steps`), so whoever reads the acknowledgements, one line
``thread step`` each, knows what must be in the database.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import aurora_engine as aurora

COUNTER = b"counter"
TOGETHER = 5
PAGE_BYTES = 4096


@dataclass(frozen=True)
class Step:
    """What one transaction does; ``counts``: it also adds one to the shared counter."""

    puts: tuple[tuple[bytes, bytes], ...]
    deletes: tuple[bytes, ...]
    counts: bool


def steps(seed: int, thread: int) -> Iterator[Step]:
    """The endless work of one thread, on keys of its own and on the shared counter."""
    rng = random.Random(f"{seed}/{thread}")
    own = b"%d/" % thread
    number = 0
    while True:
        number += 1
        key = own + b"k%d" % rng.randrange(60)
        kind = rng.random()
        if kind < 0.5:
            length = rng.choice((0, 8, 200, 200, 5000, 40_000))
            yield Step(((key, b"%d " % number + rng.randbytes(length)),), (), False)
        elif kind < 0.65:
            yield Step((), (key,), False)
        else:
            together = tuple((own + b"t%d" % index, b"%d" % number) for index in range(TOGETHER))
            yield Step(together, (key,), True)


def run(db: aurora.Database, step: Step) -> None:
    """One step: through the database itself where it is a single verb, else in a transaction."""
    if len(step.puts) == 1:
        db.put(*step.puts[0])
    elif not step.puts:
        db.delete(step.deletes[0])
    else:
        db.transact(lambda txn: _apply(txn, step))


def _apply(txn: aurora.Transaction, step: Step) -> None:
    for key, value in step.puts:
        txn[key] = value
    for key in step.deletes:
        txn.delete(key)
    if step.counts:
        txn[COUNTER] = b"%d" % (int(txn.get(COUNTER, b"0")) + 1)


def _work(db: aurora.Database, seed: int, thread: int, first: int) -> None:
    for number, step in enumerate(islice(steps(seed, thread), first, None), first):
        run(db, step)
        os.write(1, b"%d %d\n" % (thread, number))


def main() -> None:
    """Writes until it is killed."""
    path, seed, group_bytes, *firsts = sys.argv[1:]
    db = aurora.open(path, page_bytes=PAGE_BYTES, protection_group_bytes=int(group_bytes))
    os.write(1, b"open\n")
    threads = [
        threading.Thread(target=_work, args=(db, int(seed), thread, int(first)))
        for thread, first in enumerate(firsts)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    # Only an error ends a thread: let the killer see it instead of a quiet end.
    os._exit(1)


if __name__ == "__main__":
    main()
