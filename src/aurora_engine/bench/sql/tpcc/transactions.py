"""The five transactions of TPC-C (clause 2), each as one client does them, again and again.

Delivery changes a row before it reads it, on purpose: a snapshot from before the commit of another
client shows what this transaction itself has changed, and else nothing newer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from aurora_engine.bench.sql.base import Client, Row
from aurora_engine.bench.sql.tpcc.rules import DISTRICTS, Choices

__all__ = ["Terminal", "UnusedItemError"]

LINES_MIN, LINES_MAX, QUANTITY_MAX = 5, 15, 10
UNUSED_ITEM_PERCENT, REMOTE_LINE_PERCENT = 1, 1
REMOTE_PAYMENT_PERCENT, BY_NAME_PERCENT = 15, 60
PAYMENT_CENTS_MIN, PAYMENT_CENTS_MAX = 100, 500_000
DATA_CHARACTERS = 500
RECENT_ORDERS = 20
STOCK_LOW, REFILL = 10, 91
DECK = (
    *["new-order"] * 10,
    *["payment"] * 10,
    "order-status",
    "delivery",
    "stock-level",
)
"""Clause 5.2.4.2: a shuffled deck of these, dealt to its end, gives the mix."""


class UnusedItemError(Exception):
    """An order has an item that there is not; the transaction is rolled back (clause 2.4.1.4)."""


class Terminal:
    """A client that is at home in one district.

    Parameters
    ----------
    client : Client
        Its connection.
    choices : Choices
        Its random choices.
    warehouse, district : int
        Where it is; the district only for the stock level.

    Attributes
    ----------
    committed : dict of str to int
        Transactions by kind that are in the database, all of them acknowledged.
    """

    def __init__(self, client: Client, choices: Choices, warehouse: int, district: int) -> None:
        self._client, self._choices = client, choices
        self._warehouse, self._district = warehouse, district
        self._deck: list[str] = []
        self.committed = dict.fromkeys(DECK, 0)
        self._kinds: dict[str, Callable[[], object]] = {
            "new-order": self._new_order(),
            "payment": self._payment(),
            "order-status": self._order_status(),
            "delivery": self._delivery(),
            "stock-level": self._stock_level(),
        }

    def next(self) -> None:
        """The next transaction of the deck."""
        if not self._deck:
            self._deck = list(DECK)
            self._choices.random.shuffle(self._deck)
        kind = self._deck.pop()
        body = self._kinds[kind]
        reads_only = kind in {"order-status", "stock-level"}
        with suppress(UnusedItemError):
            (self._client.read if reads_only else self._client.transact)(body)
            self.committed[kind] += 1

    def _selects(self, sql: str, *, to_change: bool = False) -> Callable[..., Sequence[Row]]:
        suffix = self._client.dialect.for_update if to_change else ""
        return self._client.connection.selects(sql + suffix)

    def _changes(self, sql: str) -> Callable[..., int]:
        return self._client.connection.changes(sql)

    # ---- new-order, clause 2.4 ----

    def _new_order(self) -> Callable[[], None]:
        choices, warehouse = self._choices, self._warehouse
        tax = self._selects("SELECT w_tax FROM warehouse WHERE w_id = ?")
        customer = self._selects(
            "SELECT c_discount, c_last, c_credit FROM customer "
            "WHERE c_w_id = ? AND c_d_id = ? AND c_id = ?"
        )
        next_order = self._selects(
            "SELECT d_next_o_id, d_tax FROM district WHERE d_w_id = ? AND d_id = ?", to_change=True
        )
        count_up = self._changes(
            "UPDATE district SET d_next_o_id = d_next_o_id + 1 WHERE d_w_id = ? AND d_id = ?"
        )
        insert_order = self._changes(
            "INSERT INTO orders (o_id, o_d_id, o_w_id, o_c_id, o_entry_d, o_ol_cnt, o_all_local) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        insert_new = self._changes(
            "INSERT INTO new_order (no_o_id, no_d_id, no_w_id) VALUES (?, ?, ?)"
        )
        add_line = self._order_line()

        def new_order() -> None:
            district, now = choices.between(1, DISTRICTS), int(time.time())
            buyer, lines = choices.customer(), self._lines()
            tax((warehouse,))
            customer((warehouse, district, buyer))
            order = next_order((warehouse, district))[0][0]
            count_up((warehouse, district))
            local = all(supplier == warehouse for _, supplier, _ in lines)
            insert_order((order, district, warehouse, buyer, now, len(lines), int(local)))
            insert_new((order, district, warehouse))
            for number, line in enumerate(lines, 1):
                add_line(order, district, number, line)

        return new_order

    def _lines(self) -> list[tuple[int, int, int]]:
        """Item, supplying warehouse and quantity of each; in order, so that locks seldom cross."""
        choices, home = self._choices, self._warehouse
        lines = []
        for _ in range(choices.between(LINES_MIN, LINES_MAX)):
            remote = choices.happens(REMOTE_LINE_PERCENT)
            supplier = choices.other_warehouse(home) if remote else home
            lines.append((choices.item(), supplier, choices.between(1, QUANTITY_MAX)))
        lines.sort(key=lambda line: (line[1], line[0]))
        if choices.happens(UNUSED_ITEM_PERCENT):
            lines[-1] = (choices.scale.items + 1, home, 1)
        return lines

    def _order_line(self) -> Callable[[int, int, int, tuple[int, int, int]], None]:
        warehouse = self._warehouse
        item = self._selects("SELECT i_price, i_name, i_data FROM item WHERE i_id = ?")
        stock = [
            self._selects(
                f"SELECT s_quantity, s_data, s_dist_{district:02} FROM stock "
                "WHERE s_w_id = ? AND s_i_id = ?",
                to_change=True,
            )
            for district in range(1, DISTRICTS + 1)
        ]
        take = self._changes(
            "UPDATE stock SET s_quantity = ?, s_ytd = s_ytd + ?, s_order_cnt = s_order_cnt + 1, "
            "s_remote_cnt = s_remote_cnt + ? WHERE s_w_id = ? AND s_i_id = ?"
        )
        insert = self._changes(
            "INSERT INTO order_line (ol_o_id, ol_d_id, ol_w_id, ol_number, ol_i_id, "
            "ol_supply_w_id, ol_quantity, ol_amount, ol_dist_info) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )

        def add(order: int, district: int, number: int, line: tuple[int, int, int]) -> None:
            item_id, supplier, quantity = line
            found = item((item_id,))
            if not found:
                raise UnusedItemError
            in_stock, _data, text = stock[district - 1]((supplier, item_id))[0]
            left = in_stock - quantity
            if left < STOCK_LOW:
                left += REFILL
            take((left, quantity, int(supplier != warehouse), supplier, item_id))
            place = (order, district, warehouse, number)
            insert((*place, item_id, supplier, quantity, quantity * found[0][0], text))

        return add

    # ---- payment, clause 2.5 ----

    def _payment(self) -> Callable[[], None]:
        choices, warehouse = self._choices, self._warehouse
        to_warehouse = self._changes("UPDATE warehouse SET w_ytd = w_ytd + ? WHERE w_id = ?")
        names = self._selects(
            "SELECT w_name, w_street_1, w_street_2, w_city, w_state, w_zip FROM warehouse "
            "WHERE w_id = ?"
        )
        to_district = self._changes(
            "UPDATE district SET d_ytd = d_ytd + ? WHERE d_w_id = ? AND d_id = ?"
        )
        district_names = self._selects(
            "SELECT d_name, d_street_1, d_street_2, d_city, d_state, d_zip FROM district "
            "WHERE d_w_id = ? AND d_id = ?"
        )
        find, pay = self._find_customer(), self._pay()
        insert = self._changes(
            "INSERT INTO history (h_c_id, h_c_d_id, h_c_w_id, h_d_id, h_w_id, h_date, h_amount, "
            "h_data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )

        def payment() -> None:
            district = choices.between(1, DISTRICTS)
            amount = choices.between(PAYMENT_CENTS_MIN, PAYMENT_CENTS_MAX)
            where = (warehouse, district)
            if choices.happens(REMOTE_PAYMENT_PERCENT):
                where = (choices.other_warehouse(warehouse), choices.between(1, DISTRICTS))
            to_warehouse((amount, warehouse))
            warehouse_name = names((warehouse,))[0][0]
            to_district((amount, warehouse, district))
            district_name = district_names((warehouse, district))[0][0]
            customer = find(*where)
            pay(*where, customer, amount, (district, warehouse))
            text = f"{warehouse_name}    {district_name}"
            paid = (customer, where[1], where[0], district, warehouse)
            insert((*paid, int(time.time()), amount, text))

        return payment

    def _find_customer(self) -> Callable[[int, int], int]:
        """By name, the one in the middle of those who have it; or by number."""
        choices = self._choices
        by_name = self._selects(
            "SELECT c_id FROM customer WHERE c_w_id = ? AND c_d_id = ? AND c_last = ? "
            "ORDER BY c_first"
        )

        def find(warehouse: int, district: int) -> int:
            if not choices.happens(BY_NAME_PERCENT):
                return choices.customer()
            found = by_name((warehouse, district, choices.last_name()))
            number: int = found[(len(found) - 1) // 2][0]
            return number

        return find

    def _pay(self) -> Callable[[int, int, int, int, tuple[int, int]], None]:
        customer = self._selects(
            "SELECT c_first, c_middle, c_last, c_street_1, c_street_2, c_city, c_state, c_zip, "
            "c_phone, c_since, c_credit, c_credit_lim, c_discount, c_balance, c_data "
            "FROM customer WHERE c_w_id = ? AND c_d_id = ? AND c_id = ?",
            to_change=True,
        )
        change = (
            "UPDATE customer SET c_balance = c_balance - ?, c_ytd_payment = c_ytd_payment + ?, "
            "c_payment_cnt = c_payment_cnt + 1"
        )
        of_one = " WHERE c_w_id = ? AND c_d_id = ? AND c_id = ?"
        good = self._changes(change + of_one)
        bad = self._changes(change + ", c_data = ?" + of_one)

        def pay(
            warehouse: int, district: int, number: int, amount: int, paid_at: tuple[int, int]
        ) -> None:
            *_, credit, _limit, _discount, _balance, data = customer((warehouse, district, number))[
                0
            ]
            if credit == "GC":
                good((amount, amount, warehouse, district, number))
                return
            note = " ".join(map(str, (number, district, warehouse, *paid_at, amount)))
            data = f"{note}|{data}"[:DATA_CHARACTERS]
            bad((amount, amount, data, warehouse, district, number))

        return pay

    # ---- order-status, clause 2.6 ----

    def _order_status(self) -> Callable[[], None]:
        choices, warehouse, find = self._choices, self._warehouse, self._find_customer()
        customer = self._selects(
            "SELECT c_first, c_middle, c_last, c_balance FROM customer "
            "WHERE c_w_id = ? AND c_d_id = ? AND c_id = ?"
        )
        newest = self._selects(
            "SELECT o_id, o_entry_d, o_carrier_id FROM orders "
            "WHERE o_w_id = ? AND o_d_id = ? AND o_c_id = ? ORDER BY o_id DESC LIMIT 1"
        )
        lines = self._selects(
            "SELECT ol_i_id, ol_supply_w_id, ol_quantity, ol_amount, ol_delivery_d "
            "FROM order_line WHERE ol_w_id = ? AND ol_d_id = ? AND ol_o_id = ?"
        )

        def order_status() -> None:
            district = choices.between(1, DISTRICTS)
            number = find(warehouse, district)
            customer((warehouse, district, number))
            order = newest((warehouse, district, number))[0][0]
            lines((warehouse, district, order))

        return order_status

    # ---- delivery, clause 2.7 ----

    def _delivery(self) -> Callable[[], None]:
        choices, warehouse = self._choices, self._warehouse
        of_one = " WHERE {0}_w_id = ? AND {0}_d_id = ? AND {0}_o_id = ?".format
        oldest = self._selects(
            "SELECT no_o_id FROM new_order WHERE no_w_id = ? AND no_d_id = ? "
            "ORDER BY no_o_id LIMIT 1",
            to_change=True,
        )
        remove = self._changes("DELETE FROM new_order" + of_one("no"))
        of_order = " WHERE o_w_id = ? AND o_d_id = ? AND o_id = ?"
        carry = self._changes("UPDATE orders SET o_carrier_id = ?" + of_order)
        buyer = self._selects("SELECT o_c_id FROM orders" + of_order)
        deliver = self._changes("UPDATE order_line SET ol_delivery_d = ?" + of_one("ol"))
        amount = self._selects("SELECT SUM(ol_amount) FROM order_line" + of_one("ol"))
        charge = self._changes(
            "UPDATE customer SET c_balance = c_balance + ?, c_delivery_cnt = c_delivery_cnt + 1 "
            "WHERE c_w_id = ? AND c_d_id = ? AND c_id = ?"
        )

        def delivery() -> None:
            carrier, now = choices.between(1, 10), int(time.time())
            for district in range(1, DISTRICTS + 1):
                waiting = oldest((warehouse, district))
                # None, or one that another terminal has delivered meanwhile (clause 2.7.4.2).
                if not waiting or not remove((warehouse, district, waiting[0][0])):
                    continue
                order = (warehouse, district, waiting[0][0])
                carry((carrier, *order))
                customer = buyer(order)[0][0]
                deliver((now, *order))
                charge((int(amount(order)[0][0]), warehouse, district, customer))

        return delivery

    # ---- stock-level, clause 2.8 ----

    def _stock_level(self) -> Callable[[], None]:
        choices, warehouse, district = self._choices, self._warehouse, self._district
        next_order = self._selects("SELECT d_next_o_id FROM district WHERE d_w_id = ? AND d_id = ?")
        low = self._selects(
            "SELECT COUNT(DISTINCT s_i_id) FROM order_line JOIN stock "
            "ON s_i_id = ol_i_id "
            "WHERE ol_w_id = ? AND ol_d_id = ? AND ol_o_id >= ? AND ol_o_id < ? "
            "AND s_w_id = ? AND s_quantity < ?"
        )

        def stock_level() -> None:
            order = next_order((warehouse, district))[0][0]
            threshold = choices.between(10, 20)
            low((warehouse, district, order - RECENT_ORDERS, order, warehouse, threshold))

        return stock_level
