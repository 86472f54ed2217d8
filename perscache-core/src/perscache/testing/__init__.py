"""For the tests of plugins: what a contract promises, as classes of tests, and failures of the world made to happen."""

from __future__ import annotations

from .faults import Fault, FaultyProxy
from .fingerprint import FingerprintTests
from .plugin import PluginTests
from .serializer import SerializerTests
from .servers import serving
from .storage import Around, StorageTests

__all__ = [
    "Around",
    "Fault",
    "FaultyProxy",
    "FingerprintTests",
    "PluginTests",
    "SerializerTests",
    "StorageTests",
    "serving",
]
