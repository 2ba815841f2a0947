"""A process that commits and backtracks until it is killed: ``python -m tests.crash.rewinder``.

Arguments: PATH SEED MOMENT..., the LSNs that it may go back to at first. It says what it is about
to do, one line each, and then ``done LSN``.
"""

from __future__ import annotations

import os
import random
import sys

import aurora_engine as aurora


def say(*words: object) -> None:
    """One line, at once."""
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


def main() -> None:
    """Commits and backtracks until it is killed."""
    path, seed, *given = sys.argv[1:]
    rng = random.Random(seed)
    moments = [int(each) for each in given]
    db = aurora.open(path, page_bytes=4096)
    say("open")
    number = 0
    while True:
        number += 1
        if moments and rng.random() < 0.3:
            to = rng.choice(moments)
            say("back", to)
            point = db.backtrack(to)
            moments += [point.undo_lsn, point.lsn]
            say("done", point.lsn)
        else:
            key, value = f"k{rng.randrange(20)}", f"{seed}/{number}"
            say("put", key, value)
            moments.append(db.put(key.encode(), value.encode()))
            say("done", moments[-1])


if __name__ == "__main__":
    main()
