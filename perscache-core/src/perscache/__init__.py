"""Persistent memoization: results of functions that outlive the process, in any format, in any storage.

```python
from perscache import Cache

cache = Cache()

@cache
def slow(x): ...
```
"""

from __future__ import annotations

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
