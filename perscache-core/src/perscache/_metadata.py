"""Which `importlib.metadata`: the standard one from Python 3.12, its backport of the same behaviour below.

Imported when the first name is looked up that is not built in: either one takes as long as all the rest of us.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from importlib.metadata import (
        Distribution,
        EntryPoint,
        PackageNotFoundError,
        distribution,
        distributions,
        packages_distributions,
        version,
    )
else:
    from importlib_metadata import (
        Distribution,
        EntryPoint,
        PackageNotFoundError,
        distribution,
        distributions,
        packages_distributions,
        version,
    )

__all__ = [
    "Distribution",
    "EntryPoint",
    "PackageNotFoundError",
    "distribution",
    "distributions",
    "packages_distributions",
    "version",
]
