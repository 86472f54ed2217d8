"""What stores that are asked over HTTP share: how often they are asked, and what their headers say."""

from __future__ import annotations

import time

import pytest

from perscache.storage.http import media_type, persist, server_clock, timestamp, written


class Failing:
    """Fails ``times`` times, then gives how often it was asked."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        if self.asked <= self.times:
            raise OSError(f"failure {self.asked}")
        return self.asked


def test_what_passes_is_tried_up_to_three_times():
    assert persist(Failing(2), 60, lambda error: True) == 3

    lasting = Failing(3)
    with pytest.raises(OSError, match="failure 3"):
        persist(lasting, 60, lambda error: True)
    assert lasting.asked == 3


def test_what_lasts_is_raised_at_once():
    refused = Failing(1)

    with pytest.raises(OSError, match="failure 1"):
        persist(refused, 60, lambda error: False)

    assert refused.asked == 1


def test_nothing_is_tried_again_in_the_second_half_of_the_timeout():
    late = Failing(1)

    with pytest.raises(OSError, match="failure 1"):
        persist(late, 0.1, lambda error: True)

    assert late.asked == 1


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_where_the_server_tells_no_time_ours_is_taken(date: str | None):
    assert timestamp(date) is None
    assert abs(server_clock(date) - time.time()) < 60


@pytest.mark.parametrize(
    ("ours", "now"),
    [
        (0.25, 0.25),
        # Cut at 0.99, and here at 1.02.
        (1.02, 1.0),
        (-0.25, 0),
        (3600, 0),
        (-3600, 0),
    ],
)
def test_our_clock_tells_the_fraction_of_the_servers_second_and_no_more(
    ours: float, now: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("perscache.storage.http.time.time", lambda: 1730462400 + ours)

    assert server_clock("Fri, 01 Nov 2024 12:00:00 GMT") == 1730462400 + now


@pytest.mark.parametrize(
    ("created", "when"),
    [
        ("2024-11-01T12:00:00.250000+00:00", 1730462400.25),
        ("2024-11-01T12:00:01.000001+00:00", 1730462400),
        ("2024-11-01T11:59:59.999999+00:00", 1730462400),
        ("2024-11-01T13:00:00.250000+00:00", 1730462400),
        ("once", 1730462400),
    ],
)
def test_the_writer_tells_the_fraction_of_the_servers_second(created: str, when: float):
    assert written(1730462400, {"created": created}) == when
    assert written(1730462400, {}) == 1730462400


def test_an_object_is_of_the_type_that_its_name_says():
    assert [media_type(f"f/a.{extension}") for extension in ("json", "csv", "of-nobody")] == [
        "application/json",
        "text/csv",
        "application/octet-stream",
    ]
