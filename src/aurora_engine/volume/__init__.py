"""Coordination of one volume: where it lies, opening and recovery by quorum, repair, growth."""

from aurora_engine.volume.volume import Volume

__all__ = ["Volume"]
