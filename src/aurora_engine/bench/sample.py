"""What one repetition gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from aurora_engine.bench.counters import Usage

__all__ = ["Sample"]


@dataclass(slots=True)
class Sample:
    """What one repetition of a case gave.

    Attributes
    ----------
    value : float
        In the unit of the case.
    latency_us : dict of str to float
        Microseconds of an operation: ``p50``, ``p99``, ``p99.9``, ``max``; empty where it says
        nothing.
    usage : Usage or None
        What the machine did meanwhile.
    details : dict of str to float
        Anything else worth keeping, such as ``operations`` and ``retries``.
    """

    value: float
    latency_us: dict[str, float] = field(default_factory=dict)
    usage: Usage | None = None
    details: dict[str, float] = field(default_factory=dict)
