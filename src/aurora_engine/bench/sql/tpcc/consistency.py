"""The consistency conditions of clause 3.3.2, as questions that must find nothing.

Condition 11 holds before the first delivery only, and is left out.
"""

from __future__ import annotations

from aurora_engine.bench.sql.base import SqlEngine
from aurora_engine.bench.sql.clients import check_equal

__all__ = ["CONDITIONS", "check"]

CONDITIONS = {
    "1: the year's receipts of a warehouse are those of its districts": """
        SELECT w_id FROM warehouse
        WHERE w_ytd <> (SELECT SUM(d_ytd) FROM district WHERE d_w_id = w_id)""",
    "2: the next order of a district follows the last one": """
        SELECT d_w_id, d_id FROM district
        WHERE d_next_o_id - 1 <>
            (SELECT MAX(o_id) FROM orders WHERE o_w_id = d_w_id AND o_d_id = d_id)
        OR d_next_o_id - 1 <>
            (SELECT MAX(no_o_id) FROM new_order WHERE no_w_id = d_w_id AND no_d_id = d_id)""",
    "3: new orders of a district have no holes": """
        SELECT no_w_id, no_d_id FROM new_order GROUP BY no_w_id, no_d_id
        HAVING MAX(no_o_id) - MIN(no_o_id) + 1 <> COUNT(*)""",
    "4: a district has as many order lines as its orders say": """
        SELECT d_w_id, d_id FROM district
        WHERE (SELECT SUM(o_ol_cnt) FROM orders WHERE o_w_id = d_w_id AND o_d_id = d_id)
        <> (SELECT COUNT(*) FROM order_line WHERE ol_w_id = d_w_id AND ol_d_id = d_id)""",
    "5: an order without a carrier is a new one, and no other is": """
        SELECT o_w_id, o_d_id, o_id FROM orders LEFT JOIN new_order
            ON no_w_id = o_w_id AND no_d_id = o_d_id AND no_o_id = o_id
        WHERE (o_carrier_id IS NULL) <> (no_o_id IS NOT NULL)""",
    "6: an order has as many lines as it says": """
        SELECT o_w_id, o_d_id, o_id FROM orders LEFT JOIN order_line
            ON ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id
        GROUP BY o_w_id, o_d_id, o_id, o_ol_cnt HAVING o_ol_cnt <> COUNT(ol_o_id)""",
    "7: a line is delivered when its order has a carrier": """
        SELECT o_w_id, o_d_id, o_id FROM orders JOIN order_line
            ON ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id
        WHERE (ol_delivery_d IS NULL) <> (o_carrier_id IS NULL)""",
    "8: the year's receipts of a warehouse are those of the history": """
        SELECT w_id FROM warehouse
        WHERE w_ytd <> (SELECT SUM(h_amount) FROM history WHERE h_w_id = w_id)""",
    "9: the year's receipts of a district are those of the history": """
        SELECT d_w_id, d_id FROM district WHERE d_ytd <>
            (SELECT SUM(h_amount) FROM history WHERE h_w_id = d_w_id AND h_d_id = d_id)""",
    "10: a customer's balance is what was delivered less what was paid": """
        SELECT c_w_id, c_d_id, c_id FROM customer LEFT JOIN (
            SELECT o_w_id, o_d_id, o_c_id, SUM(ol_amount) AS delivered FROM orders JOIN order_line
                ON ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id
            WHERE ol_delivery_d IS NOT NULL GROUP BY o_w_id, o_d_id, o_c_id
        ) AS theirs ON o_w_id = c_w_id AND o_d_id = c_d_id AND o_c_id = c_id
        LEFT JOIN (
            SELECT h_c_w_id, h_c_d_id, h_c_id, SUM(h_amount) AS paid FROM history
            GROUP BY h_c_w_id, h_c_d_id, h_c_id
        ) AS his ON h_c_w_id = c_w_id AND h_c_d_id = c_d_id AND h_c_id = c_id
        WHERE c_balance <> COALESCE(delivered, 0) - COALESCE(paid, 0)""",
    "12: a customer's balance and payments are what was delivered": """
        SELECT c_w_id, c_d_id, c_id FROM customer LEFT JOIN (
            SELECT o_w_id, o_d_id, o_c_id, SUM(ol_amount) AS delivered FROM orders JOIN order_line
                ON ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id
            WHERE ol_delivery_d IS NOT NULL GROUP BY o_w_id, o_d_id, o_c_id
        ) AS theirs ON o_w_id = c_w_id AND o_d_id = c_d_id AND o_c_id = c_id
        WHERE c_balance + c_ytd_payment <> COALESCE(delivered, 0)""",
}


def check(engine: SqlEngine) -> None:
    """Asks for what breaks a condition.

    Raises
    ------
    InvariantError
        If something is found.
    """
    connection = engine.connect()
    for condition, sql in CONDITIONS.items():
        found = connection.selects(sql)(())
        check_equal(f"TPC-C, clause 3.3.2.{condition}; broken by", len(found), 0)
    connection.close()
