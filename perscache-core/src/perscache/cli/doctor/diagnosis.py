"""What the doctor found: problems, and remarks on what somebody wanted so but may have forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field

from .. import display


@dataclass(slots=True)
class Diagnosis:
    """Messages that name the culprit, the fact and the way out."""

    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def wrong(self, *messages: str) -> None:
        """Add what has not been said."""
        for message in messages:
            if not any(message in said for said in self.problems):
                self.problems.append(message)

    def tell(self) -> None:
        """Print it."""
        for kind, messages in (("note", self.remarks), ("wrong", self.problems)):
            for message in messages:
                display.say(f"{kind}: {display.clean(message)}")
        if not self.problems:
            display.say("Nothing is wrong.")
