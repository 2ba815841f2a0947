"""The process that gets killed.

Loads flights one durable transaction at a time and prints each acknowledged row.
"""

from __future__ import annotations

import sys

import aurora_engine as aurora
from demo.flights import put_flight, read_flights


def main() -> None:
    """Loads into the database named on the command line until it is killed."""
    with aurora.open(sys.argv[1]) as db:
        for flight in read_flights():
            with db.begin() as transaction:
                put_flight(transaction, flight)
            print(flight.row, flush=True)


if __name__ == "__main__":
    main()
