"""What was found: the answers of all rounds, their medians with the spread, and tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from process import FAILS

OURS = "perscache"
MISSING = "–"


class Measure(NamedTuple):
    """The median of all rounds, and half the distance between the quartiles."""

    median: float
    spread: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Measure:
        """That of ``values``."""
        if len(values) == 1:
            return cls(values[0], 0.0)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, (high - low) / 2)

    def __str__(self) -> str:
        percent = f" ± {100 * self.spread / abs(self.median):.0f} %" if self.spread and self.median else ""
        return number(self.median) + percent


class Target(NamedTuple):
    """A line of the targets."""

    title: str
    goal: str
    reached: str
    met: bool | None
    """None where it could not be measured."""


class Findings:
    """Answers by task and library: a list where there were rounds, else what was answered once."""

    def __init__(self, answers: dict[str, dict[str, Any]]) -> None:
        self.answers = answers

    def __call__(self, task: str, library: str = OURS) -> Measure | None:
        """The measure of a task; None where nobody was asked, or had no answer."""
        values = self._numbers(task, library)
        return Measure.of(values) if values else None

    def once(self, task: str, library: str = OURS) -> Any:
        """What was answered once, or None; a part of an answer fails as a whole."""
        answer, whole = (self.answers.get(name, {}).get(library) for name in (task, task.rpartition(" ")[0]))
        return FAILS if answer is None and fails(whole) else answer

    def cell(self, task: str, library: str = OURS) -> str:
        """The answer as a table shows it."""
        values = self.once(task, library)
        if fails(values):
            return FAILS
        if isinstance(values, str):
            return values
        found = self(task, library)
        return MISSING if found is None else str(found)

    def ratio(self, task: str, other: str, library: str = OURS, beside: str = OURS) -> Measure | None:
        """A task in parts of another one, round by round."""
        ours, others = self._numbers(task, library), self._numbers(other, beside)
        pairs = list(zip(ours, others, strict=False))
        return Measure.of([one / another for one, another in pairs]) if pairs else None

    def difference(self, task: str, other: str, library: str = OURS) -> Measure | None:
        """A task less another one, round by round."""
        pairs = list(zip(self._numbers(task, library), self._numbers(other, library), strict=False))
        return Measure.of([one - another for one, another in pairs]) if pairs else None

    def _numbers(self, task: str, library: str) -> list[float]:
        values = self.once(task, library)
        several = values if isinstance(values, list) else [values]
        return several if all(isinstance(value, int | float) for value in several) else []

    # --- Lines of the targets.

    def at_most(self, title: str, limit: float, found: Measure | None, unit: str = "×", goal: str = "") -> Target:
        """The target that a measure does not exceed ``limit``; ``goal`` says in words what it is measured by."""
        met = None if found is None else found.median <= limit
        return Target(title, f"at most {with_unit(f'{limit:,g}', unit)} {goal}".strip(), told(found, unit), met)

    def at_least(self, title: str, limit: float, found: Measure | None, unit: str = "×", goal: str = "") -> Target:
        """The target that a measure reaches ``limit``."""
        met = None if found is None else found.median >= limit
        return Target(title, f"at least {with_unit(f'{limit:,g}', unit)} {goal}".strip(), told(found, unit), met)

    def exactly(self, title: str, task: str, goal: int | str, library: str = OURS) -> Target:
        """The target that something counted or named is as it should be."""
        found = self.once(task, library)
        met = None if found is None or found == FAILS else found == goal
        return Target(title, str(goal), self.cell(task, library), met)


def fails(answer: Any) -> bool:
    """Whether a library failed at a task, in any round."""
    return bool(answer == FAILS or (isinstance(answer, list) and FAILS in answer))


def told(found: Measure | None, unit: str) -> str:
    """What a target says of a measure."""
    return MISSING if found is None else with_unit(str(found), unit)


def with_unit(text: str, unit: str) -> str:
    """A number with its unit, before the spread if it has one."""
    median, _, spread = text.partition(" ± ")
    return f"{median} {unit}".strip() + (f" ± {spread}" if spread else "")


def number(value: float) -> str:
    """Three digits, or all of a large whole."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if 1 <= abs(value) < 10 else f"{value:.3g}"


def size(count: int) -> str:
    """So many bytes, in the largest unit that fits."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count} bytes"


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """A table; its first row is the head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])
