"""The nine tables of TPC-C, and what is in them before the first transaction (clause 4.3.3.1).

Amounts are whole cents, taxes and discounts whole hundredths of a percent, and times whole seconds,
since not every engine has exact decimals.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from random import Random

from aurora_engine.bench.sql.base import Row, SqlEngine
from aurora_engine.bench.sql.tpcc.rules import DISTRICTS, ORIGINAL, Choices, Scale, last_name

__all__ = ["TABLES", "create"]

LOAD_TIME_S = 1_700_000_000
PAID_CENTS = 1000
CREDIT_LIMIT_CENTS = 5_000_000
TEXT_CHARACTERS = 1 << 16

ADDRESS = "street_1 VARCHAR(20), street_2 VARCHAR(20), city VARCHAR(20), state CHAR(2), zip CHAR(9)"


def _address(prefix: str) -> str:
    return ", ".join(prefix + column for column in ADDRESS.split(", "))


TABLES = {
    "warehouse": (
        f"w_id INTEGER NOT NULL, w_name VARCHAR(10), {_address('w_')}, w_tax INTEGER NOT NULL, "
        "w_ytd BIGINT NOT NULL, PRIMARY KEY (w_id)"
    ),
    "district": (
        f"d_id INTEGER NOT NULL, d_w_id INTEGER NOT NULL, d_name VARCHAR(10), {_address('d_')}, "
        "d_tax INTEGER NOT NULL, d_ytd BIGINT NOT NULL, d_next_o_id INTEGER NOT NULL, "
        "PRIMARY KEY (d_w_id, d_id)"
    ),
    "customer": (
        "c_id INTEGER NOT NULL, c_d_id INTEGER NOT NULL, c_w_id INTEGER NOT NULL, "
        "c_first VARCHAR(16) NOT NULL, c_middle CHAR(2), c_last VARCHAR(16) NOT NULL, "
        f"{_address('c_')}, c_phone CHAR(16), c_since INTEGER, c_credit CHAR(2) NOT NULL, "
        "c_credit_lim BIGINT, c_discount INTEGER NOT NULL, c_balance BIGINT NOT NULL, "
        "c_ytd_payment BIGINT NOT NULL, c_payment_cnt INTEGER NOT NULL, "
        "c_delivery_cnt INTEGER NOT NULL, c_data VARCHAR(500) NOT NULL, "
        "PRIMARY KEY (c_w_id, c_d_id, c_id)"
    ),
    "history": (
        "h_c_id INTEGER NOT NULL, h_c_d_id INTEGER NOT NULL, h_c_w_id INTEGER NOT NULL, "
        "h_d_id INTEGER NOT NULL, h_w_id INTEGER NOT NULL, h_date INTEGER NOT NULL, "
        "h_amount BIGINT NOT NULL, h_data VARCHAR(24)"
    ),
    "new_order": (
        "no_o_id INTEGER NOT NULL, no_d_id INTEGER NOT NULL, no_w_id INTEGER NOT NULL, "
        "PRIMARY KEY (no_w_id, no_d_id, no_o_id)"
    ),
    "orders": (
        "o_id INTEGER NOT NULL, o_d_id INTEGER NOT NULL, o_w_id INTEGER NOT NULL, "
        "o_c_id INTEGER NOT NULL, o_entry_d INTEGER NOT NULL, o_carrier_id INTEGER, "
        "o_ol_cnt INTEGER NOT NULL, o_all_local INTEGER NOT NULL, "
        "PRIMARY KEY (o_w_id, o_d_id, o_id)"
    ),
    "order_line": (
        "ol_o_id INTEGER NOT NULL, ol_d_id INTEGER NOT NULL, ol_w_id INTEGER NOT NULL, "
        "ol_number INTEGER NOT NULL, ol_i_id INTEGER NOT NULL, ol_supply_w_id INTEGER NOT NULL, "
        "ol_delivery_d INTEGER, ol_quantity INTEGER NOT NULL, ol_amount BIGINT NOT NULL, "
        "ol_dist_info CHAR(24), PRIMARY KEY (ol_w_id, ol_d_id, ol_o_id, ol_number)"
    ),
    "item": (
        "i_id INTEGER NOT NULL, i_im_id INTEGER, i_name VARCHAR(24), i_price INTEGER NOT NULL, "
        "i_data VARCHAR(50), PRIMARY KEY (i_id)"
    ),
    "stock": (
        "s_i_id INTEGER NOT NULL, s_w_id INTEGER NOT NULL, s_quantity INTEGER NOT NULL, "
        + "".join(f"s_dist_{district:02} CHAR(24), " for district in range(1, DISTRICTS + 1))
        + "s_ytd BIGINT NOT NULL, s_order_cnt INTEGER NOT NULL, s_remote_cnt INTEGER NOT NULL, "
        "s_data VARCHAR(50), PRIMARY KEY (s_w_id, s_i_id)"
    ),
}
INDEXES = (
    "CREATE INDEX customer_name ON customer (c_w_id, c_d_id, c_last, c_first)",
    "CREATE INDEX orders_customer ON orders (o_w_id, o_d_id, o_c_id, o_id)",
)


def create(engine: SqlEngine, scale: Scale, seed: int) -> None:
    """Makes the tables and fills them."""
    population = _Population(scale, Random(seed))
    rows = {
        "warehouse": population.warehouses(),
        "district": population.districts(),
        "customer": population.customers(),
        "history": population.history(),
        "item": population.items(),
        "stock": population.stock(),
    }
    for table, columns in TABLES.items():
        clustered = engine.dialect.clustered if "PRIMARY KEY" in columns else ""
        engine.run(f"CREATE TABLE {table} ({columns}){clustered}")
        if table in rows:
            engine.load(table, _columns(table), rows[table])
    orders, lines, new = population.orders()
    for table, its_rows in (("orders", orders), ("order_line", lines), ("new_order", new)):
        engine.load(table, _columns(table), its_rows)
    engine.run(*INDEXES)
    engine.settle(list(TABLES))


def _columns(table: str) -> list[str]:
    return [
        column.split(" ", 1)[0]
        for column in TABLES[table].partition(", PRIMARY KEY")[0].split(", ")
    ]


class _Population:
    """Rows in the order of their primary keys."""

    def __init__(self, scale: Scale, random: Random) -> None:
        self._scale, self._random = scale, random
        self._choices = Choices(scale, random, loading=True)
        self._letters = "".join(random.choices(string.ascii_letters, k=TEXT_CHARACTERS))
        self._digits = "".join(random.choices(string.digits, k=TEXT_CHARACTERS))

    def _text(self, low: int, high: int) -> str:
        """Letters, at least and at most so many."""
        length, start = self._between(low, high), self._between(0, TEXT_CHARACTERS - high)
        return self._letters[start : start + length]

    def _number(self, length: int) -> str:
        start = self._between(0, TEXT_CHARACTERS - length)
        return self._digits[start : start + length]

    def _between(self, low: int, high: int) -> int:
        return self._choices.between(low, high)

    def _data(self) -> str:
        """A tenth of it says that it is original."""
        text = self._text(26, 50)
        if not self._choices.happens(10):
            return text
        at = self._between(0, len(text) - len(ORIGINAL))
        return text[:at] + ORIGINAL + text[at + len(ORIGINAL) :]

    def _address(self) -> Row:
        streets = (self._text(10, 20), self._text(10, 20), self._text(10, 20))
        return (*streets, self._text(2, 2).upper(), self._number(4) + "11111")

    def _places(self) -> Iterator[tuple[int, int]]:
        """Every warehouse and district."""
        for warehouse in range(1, self._scale.warehouses + 1):
            for district in range(1, DISTRICTS + 1):
                yield warehouse, district

    def warehouses(self) -> Iterator[Row]:
        received = PAID_CENTS * self._scale.customers * DISTRICTS
        for number in range(1, self._scale.warehouses + 1):
            tax = self._between(0, 2000)
            yield (number, self._text(6, 10), *self._address(), tax, received)

    def districts(self) -> Iterator[Row]:
        received, next_order = PAID_CENTS * self._scale.customers, self._scale.customers + 1
        for warehouse, number in self._places():
            address, tax = self._address(), self._between(0, 2000)
            yield (number, warehouse, self._text(6, 10), *address, tax, received, next_order)

    def customers(self) -> Iterator[Row]:
        for warehouse, district in self._places():
            for number in range(1, self._scale.customers + 1):
                yield self._customer(warehouse, district, number)

    def _customer(self, warehouse: int, district: int, number: int) -> Row:
        name = (
            last_name(number - 1) if number <= self._scale.last_names else self._choices.last_name()
        )
        return (
            *(number, district, warehouse, self._text(8, 16), "OE", name, *self._address()),
            *(self._number(16), LOAD_TIME_S, "BC" if self._choices.happens(10) else "GC"),
            *(CREDIT_LIMIT_CENTS, self._between(0, 5000), -PAID_CENTS, PAID_CENTS, 1, 0),
            self._text(300, 500),
        )

    def history(self) -> Iterator[Row]:
        for warehouse, district in self._places():
            for customer in range(1, self._scale.customers + 1):
                place = (customer, district, warehouse, district, warehouse)
                yield (*place, LOAD_TIME_S, PAID_CENTS, self._text(12, 24))

    def items(self) -> Iterator[Row]:
        for number in range(1, self._scale.items + 1):
            price = self._between(100, 10_000)
            yield (number, self._between(1, 10_000), self._text(14, 24), price, self._data())

    def stock(self) -> Iterator[Row]:
        for warehouse in range(1, self._scale.warehouses + 1):
            for item in range(1, self._scale.items + 1):
                texts = (self._text(24, 24) for _ in range(DISTRICTS))
                yield (item, warehouse, self._between(10, 100), *texts, 0, 0, 0, self._data())

    def orders(self) -> tuple[list[Row], list[Row], list[Row]]:
        """Orders, their lines, and those that are not delivered yet."""
        orders: list[Row] = []
        lines: list[Row] = []
        new: list[Row] = []
        for warehouse, district in self._places():
            customers = list(range(1, self._scale.customers + 1))
            self._random.shuffle(customers)
            for number, customer in enumerate(customers, 1):
                count, delivered = self._between(5, 15), number <= self._scale.delivered
                carrier = self._between(1, 10) if delivered else None
                place = (number, district, warehouse)
                orders.append((*place, customer, LOAD_TIME_S, carrier, count, 1))
                lines += (
                    (*place, line, *self._line(warehouse, delivered=delivered))
                    for line in range(1, count + 1)
                )
                if not delivered:
                    new.append(place)
        return orders, lines, new

    def _line(self, warehouse: int, *, delivered: bool) -> Row:
        item, text = self._between(1, self._scale.items), self._text(24, 24)
        if delivered:
            return (item, warehouse, LOAD_TIME_S, 5, 0, text)
        return (item, warehouse, None, 5, self._between(1, 999_999), text)
