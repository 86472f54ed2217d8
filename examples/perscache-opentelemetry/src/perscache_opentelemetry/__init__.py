"""What becomes of cached calls, as OpenTelemetry metrics and spans: an observer for perscache."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Final

from perscache.plugins import Call, Entry, Storage, hookimpl

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.trace import Span, Tracer

__version__ = "0.1.0"

PERSCACHE_API = 1

_NAME: Final = "perscache"


@hookimpl
def perscache_hit(call: Call, entry: Entry, seconds: float) -> None:
    """One more hit, how long it took, and how long the function would have."""
    of = {"perscache.function": call.function}
    _counter("perscache.calls", "{call}", "Calls of cached functions").add(1, {**of, "perscache.result": "hit"})
    _histogram("perscache.read.duration", "Reading a hit").record(seconds, of)
    if entry.compute_time is not None:
        saved = max(0.0, entry.compute_time - seconds)
        _counter("perscache.saved", "s", "What hits saved of the functions' time").add(saved, of)
    _span("perscache.read", seconds, {**of, "perscache.size": entry.size})


@hookimpl
def perscache_miss(call: Call, reason: str) -> None:
    """One more miss, and why."""
    facts = {"perscache.function": call.function, "perscache.reason": reason}
    calls = _counter("perscache.calls", "{call}", "Calls of cached functions")
    calls.add(1, {**facts, "perscache.result": "miss"})
    _current_span().add_event("perscache.miss", facts)


@hookimpl
def perscache_store(call: Call, entry: Entry, seconds: float) -> None:
    """What the function took, and what writing its result did."""
    of = {"perscache.function": call.function}
    written = {**of, "perscache.format": entry.format}
    if entry.compute_time is not None:
        _histogram("perscache.compute.duration", "Functions whose results were stored").record(entry.compute_time, of)
    _histogram("perscache.write.duration", "Writing a result").record(seconds, written)
    _counter("perscache.written", "By", "What was stored").add(entry.size, written)
    _span("perscache.write", seconds, {**written, "perscache.size": entry.size})


@hookimpl
def perscache_evict(storage: Storage, entry: Entry, reason: str) -> None:
    """One entry less, and why."""
    facts = {"perscache.function": entry.function, "perscache.reason": reason}
    evictions = _counter("perscache.evictions", "{entry}", "Entries that were removed")
    evictions.add(1, {**facts, "perscache.storage": type(storage).__name__})


@hookimpl
def perscache_error(call: Call, stage: str, error: BaseException) -> None:
    """One more thing that failed and was survived."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    facts = {"perscache.function": call.function, "perscache.stage": stage, "error.type": kind}
    _counter("perscache.errors", "{error}", "What failed and was survived").add(1, facts)
    _current_span().add_event("perscache.error", facts)


# --- What they are recorded with. The API is imported when something happens, and costs nothing before.


@cache
def _counter(name: str, unit: str, description: str) -> Counter:
    from opentelemetry import metrics

    return metrics.get_meter(_NAME, __version__).create_counter(name, unit, description)


@cache
def _histogram(name: str, description: str) -> Histogram:
    from opentelemetry import metrics

    return metrics.get_meter(_NAME, __version__).create_histogram(name, "s", description)


@cache
def _tracer() -> Tracer:
    from opentelemetry import trace

    return trace.get_tracer(_NAME, __version__)


def _span(name: str, seconds: float, attributes: dict[str, str | int]) -> None:
    """A span that ends now and began ``seconds`` ago."""
    now = time.time_ns()
    _tracer().start_span(name, attributes=attributes, start_time=now - int(seconds * 1e9)).end(now)


def _current_span() -> Span:
    from opentelemetry import trace

    return trace.get_current_span()
