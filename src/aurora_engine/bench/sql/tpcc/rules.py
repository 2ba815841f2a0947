"""Sizes and random choices of TPC-C; clauses are those of revision 5.11."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

__all__ = ["DISTRICTS", "ORIGINAL", "Choices", "Scale", "last_name"]

DISTRICTS = 10
ITEMS, CUSTOMERS, LAST_NAMES = 100_000, 3000, 1000
DELIVERED_SHARE = 0.7
ORIGINAL = "ORIGINAL"

# Clause 2.1.6: A and C of the function NURand. C of last names differs between the population and
# the run by an amount that clause 2.1.6.1 allows.
LAST_NAME_A, CUSTOMER_A, ITEM_A = 255, 1023, 8191
LAST_NAME_C_LOAD, LAST_NAME_C_RUN, CUSTOMER_C, ITEM_C = 157, 223, 259, 7911

SYLLABLES = ("BAR", "OUGHT", "ABLE", "PRI", "PRES", "ESE", "ANTI", "CALLY", "ATION", "EING")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is.

    Attributes
    ----------
    warehouses : int
        Warehouses, of ten districts each.
    divisor : int
        By which items, and customers and orders of a district, are fewer than the standard wants.
    """

    warehouses: int
    divisor: int

    @property
    def items(self) -> int:
        """Items; each warehouse has a stock of each."""
        return ITEMS // self.divisor

    @property
    def customers(self) -> int:
        """Customers of a district, and the orders that it begins with."""
        return CUSTOMERS // self.divisor

    @property
    def delivered(self) -> int:
        """Orders of a district that are delivered in the beginning: the oldest."""
        return int(self.customers * DELIVERED_SHARE)

    @property
    def last_names(self) -> int:
        """Last names that customers have."""
        return min(LAST_NAMES, self.customers)

    def constant(self, of_standard: int) -> int:
        """A of NURand: as far from the range as in the standard, and a power of two less one."""
        return (1 << (of_standard // self.divisor).bit_length()) - 1


def last_name(number: int) -> str:
    """Clause 4.3.2.3: three syllables."""
    return "".join(SYLLABLES[int(digit)] for digit in f"{number:03}")


class Choices:
    """The random choices of one client, or of the population.

    Parameters
    ----------
    scale : Scale
        Of the tables.
    random : Random
        Where the choices come from.
    loading : bool
        Whether the choices are for the population.
    """

    def __init__(self, scale: Scale, random: Random, *, loading: bool = False) -> None:
        self.scale, self.random = scale, random
        self._last_name_c = LAST_NAME_C_LOAD if loading else LAST_NAME_C_RUN

    def between(self, low: int, high: int) -> int:
        """A number, each as likely as any other, both ends included."""
        return self.random.randint(low, high)

    def happens(self, percent: int) -> bool:
        """True in so many cases of a hundred."""
        return self.random.random() * 100 < percent

    def customer(self) -> int:
        """Number of a customer within the district."""
        a = self.scale.constant(CUSTOMER_A)
        return self._not_uniform(a, CUSTOMER_C, 1, self.scale.customers)

    def item(self) -> int:
        """Number of an item."""
        return self._not_uniform(self.scale.constant(ITEM_A), ITEM_C, 1, self.scale.items)

    def last_name(self) -> str:
        """Last name of a customer."""
        a = self.scale.constant(LAST_NAME_A) if self.scale.last_names < LAST_NAMES else LAST_NAME_A
        return last_name(self._not_uniform(a, self._last_name_c, 0, self.scale.last_names - 1))

    def other_warehouse(self, home: int) -> int:
        """Another warehouse; the same where there is only one."""
        if self.scale.warehouses == 1:
            return home
        other = self.between(1, self.scale.warehouses - 1)
        return other if other < home else other + 1

    def _not_uniform(self, a: int, c: int, low: int, high: int) -> int:
        """Clause 2.1.6."""
        mixed = self.between(0, a) | self.between(low, high)
        return (mixed + c % (a + 1)) % (high - low + 1) + low
