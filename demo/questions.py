"""Five questions, each answered from the database by range scans and again in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import aurora_engine as aurora
from demo.flights import SEPARATOR, Flight, read_table


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its two ways to the answer."""

    text: str
    from_database: Callable[[aurora.Database], str]
    from_list: Callable[[list[Flight]], str]


def _by_key(
    db: aurora.Database,
    table: str,
    *,
    start: bytes | None = None,
    stop: bytes | None = None,
    prefix: bytes | None = None,
) -> Iterator[Flight]:
    """Flights whose secondary key in ``table`` is in the bounds."""
    flights = db.table("flights")
    rows = [key[-4:] for key, _ in db.table(table).scan(start, stop, prefix=prefix)]
    for row, line in zip(rows, flights.get_many(rows), strict=True):
        assert line is not None, "a secondary key leads nowhere"
        yield Flight.decode(row, line)


def _mean_delay(flights: Iterator[Flight]) -> str:
    delays = [flight.departure_delay for flight in flights if flight.departure_delay is not None]
    return f"{sum(delays) / len(delays):.2f} minutes over {len(delays)} flights"


def _busiest(carriers: Counter[str], name_of: Callable[[str], str]) -> str:
    carrier, count = min(carriers.items(), key=lambda item: (-item[1], item[0]))
    return f"{name_of(carrier)} with {count} flights"


def _oldest(tails: set[str], plane: Callable[[str], str | None]) -> str:
    years = [
        (int(fields[1]), tail)
        for tail in tails
        if (line := plane(tail)) is not None and (fields := line.split("\t"))[1] != "NA"
    ]
    year, tail = min(years)
    return f"{tail}, built in {year}"


def _airline_name(db: aurora.Database) -> Callable[[str], str]:
    return lambda carrier: db.table("airlines")[carrier.encode()].decode().split("\t")[1]


def _plane_line(db: aurora.Database) -> Callable[[str], str | None]:
    def line(tail: str) -> str | None:
        found = db.table("planes").get(tail.encode())
        return None if found is None else found.decode()

    return line


def _file_table(name: str) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in read_table(name)}


QUESTIONS = (
    Question(
        "How many flights did the aircraft N725MQ make?",
        lambda db: str(
            sum(1 for _ in db.table("flights_by_tail").scan(prefix=b"N725MQ" + SEPARATOR))
        ),
        lambda flights: str(sum(flight.tail == "N725MQ" for flight in flights)),
    ),
    Question(
        "How late did flights from JFK to LAX leave, on average?",
        lambda db: _mean_delay(_by_key(db, "flights_by_route", prefix=b"JFKLAX" + SEPARATOR)),
        lambda flights: _mean_delay(
            f for f in flights if (f.origin, f.destination) == ("JFK", "LAX")
        ),
    ),
    Question(
        "How many flights left between Christmas Eve and New Year's Eve?",
        lambda db: str(sum(1 for _ in db.table("flights_by_date").scan(b"20131224", b"20140101"))),
        lambda flights: str(sum("20131224" <= flight.date < "20140101" for flight in flights)),
    ),
    Question(
        "Which airline flew most in July?",
        lambda db: _busiest(
            Counter(
                f.carrier for f in _by_key(db, "flights_by_date", start=b"201307", stop=b"201308")
            ),
            _airline_name(db),
        ),
        lambda flights: _busiest(
            Counter(f.carrier for f in flights if f.date.startswith("201307")),
            lambda carrier: _file_table("airlines")[carrier].split("\t")[1],
        ),
    ),
    Question(
        "Which was the oldest aircraft between Newark and San Francisco?",
        lambda db: _oldest(
            {f.tail for f in _by_key(db, "flights_by_route", prefix=b"EWRSFO" + SEPARATOR)},
            _plane_line(db),
        ),
        lambda flights: _oldest(
            {f.tail for f in flights if (f.origin, f.destination) == ("EWR", "SFO")},
            _file_table("planes").get,
        ),
    ),
)
