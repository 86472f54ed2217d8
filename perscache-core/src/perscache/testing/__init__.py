"""For the tests of plugins: what a storage or format meets in the world, made to happen."""

from __future__ import annotations

from .faults import Fault, FaultyProxy

__all__ = ["Fault", "FaultyProxy"]
