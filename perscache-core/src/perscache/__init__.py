"""Persistent memoization: results of functions that outlive the process, in any format, in any storage.

```python
from perscache import Cache

cache = Cache()

@cache
def slow(x): ...
```

PYTEST_DONT_REWRITE: programs that import this may run pytest, which would warn that it came too late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .annotations import HashBy, Ignore
    from .cache import Cache, NoCache
    from .errors import CacheExpired, CacheMiss, PerscacheError, PerscacheWarning
    from .modes import mode

__all__ = [
    "Cache",
    "CacheExpired",
    "CacheMiss",
    "HashBy",
    "Ignore",
    "NoCache",
    "PerscacheError",
    "PerscacheWarning",
    "mode",
]

# Looked up when first used: pytest imports this package for its plugin in every run, whoever uses a cache there.
_HOMES: Final = {
    "Cache": "cache",
    "CacheExpired": "errors",
    "CacheMiss": "errors",
    "HashBy": "annotations",
    "Ignore": "annotations",
    "NoCache": "cache",
    "PerscacheError": "errors",
    "PerscacheWarning": "errors",
    "mode": "modes",
}
_MODULES: Final = frozenset(["errors", "isolation", "plugins", "serializers", "statistics", "storage", "typing"])


if not TYPE_CHECKING:  # Checkers are to find a name that nobody gives.

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name in _HOMES:
            found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
            return found
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
