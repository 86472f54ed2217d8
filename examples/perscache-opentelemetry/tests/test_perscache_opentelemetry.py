"""Cached calls become metrics and spans, as the SDK's exporters in memory see them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from perscache import Cache
from perscache.testing import PluginTests

READER = InMemoryMetricReader()
SPANS = InMemorySpanExporter()

# The program's own providers can be set once a process.
metrics.set_meter_provider(MeterProvider([READER]))
_tracers = TracerProvider()
_tracers.add_span_processor(SimpleSpanProcessor(SPANS))
trace.set_tracer_provider(_tracers)


class TestPlugin(PluginTests):
    module = "perscache_opentelemetry"


@pytest.fixture(autouse=True)
def _from_zero() -> Iterator[None]:
    SPANS.clear()
    yield
    SPANS.clear()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache("json", tmp_path, observers=["opentelemetry"])


def told(metric: str, function: str) -> dict[tuple[str, ...], float]:
    """What a metric says of a function, by its other attributes: the sum, and how many values of a histogram."""
    found: dict[tuple[str, ...], float] = {}
    data = READER.get_metrics_data()
    assert data is not None
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for one in scope.metrics:
                for point in one.data.data_points if one.name == metric else ():
                    facts = dict(point.attributes or {})
                    if facts.pop("perscache.function") == function:
                        assert isinstance(point, (HistogramDataPoint, NumberDataPoint))
                        value = point.count if isinstance(point, HistogramDataPoint) else point.value
                        found[tuple(str(facts[name]) for name in sorted(facts))] = value
    return found


def spans(name: str) -> list[ReadableSpan]:
    return [span for span in SPANS.get_finished_spans() if span.name == name]


def test_hits_and_misses_are_counted(cache: Cache) -> None:
    square = cache(name="counted")(lambda x: x * x)
    assert [square(2), square(2), square(3)] == [4, 4, 9]

    assert told("perscache.calls", "counted") == {("absent", "miss"): 2, ("hit",): 1}
    assert told("perscache.read.duration", "counted") == {(): 1}
    assert told("perscache.write.duration", "counted") == {("json",): 2}
    assert told("perscache.compute.duration", "counted") == {(): 2}
    assert told("perscache.written", "counted") == {("json",): 2}
    assert set(told("perscache.saved", "counted")) == {()}


def test_a_call_is_seen_in_the_span_that_made_it(cache: Cache) -> None:
    square = cache(name="traced")(lambda x: x * x)
    with trace.get_tracer("test").start_as_current_span("request") as request:
        assert square(2) == square(2)

    (read,), (write,), (whole,) = spans("perscache.read"), spans("perscache.write"), spans("request")
    for span in (read, write):
        assert span.parent is not None
        assert span.parent.span_id == request.get_span_context().span_id
        assert span.attributes is not None
        assert (span.attributes["perscache.function"], span.attributes["perscache.size"]) == ("traced", 1)
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
    assert [event.name for event in whole.events] == ["perscache.miss"]


def test_removals_are_counted(cache: Cache) -> None:
    square = cache(name="removed")(lambda x: x * x)
    square(2)
    assert square.cache_invalidate(2)

    assert told("perscache.evictions", "removed") == {("invalidated", "LocalFileStorage"): 1}


def test_trouble_is_counted_and_seen(cache: Cache) -> None:
    def unwelcome() -> Any:
        return object()

    with warnings.catch_warnings(), trace.get_tracer("test").start_as_current_span("request"):
        warnings.simplefilter("ignore")
        cache(name="failing")(unwelcome)()

    assert told("perscache.errors", "failing") == {("perscache.errors.SerializationError", "dumps"): 1}
    (whole,) = spans("request")
    assert "perscache.error" in [event.name for event in whole.events]


def test_no_argument_is_told(cache: Cache) -> None:
    greet = cache(name="private")(lambda name: len(name))
    assert greet("a-secret") == greet("a-secret")

    data = READER.get_metrics_data()
    assert data is not None
    assert "a-secret" not in data.to_json()
    assert all("a-secret" not in span.to_json() for span in SPANS.get_finished_spans())
