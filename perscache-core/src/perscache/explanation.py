"""Why a call is a hit or a miss: what it has in common with the stored results, and what not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .entry import Entry


@dataclass(frozen=True, slots=True)
class Explanation:
    """What ``f.cache.explain()`` finds out; its text is for reading."""

    function: str
    path: str
    """The storage path of the call."""
    reason: str
    """"stored" for a hit; "absent", "expired" or "unreadable" for a miss."""
    entry: Entry | None
    """The call's own entry, expired or not."""
    nearest: Entry | None
    """For a miss: the stored entry whose key has most in common with the call's."""
    differences: tuple[str, ...]
    """What differs from that: ``"argument 'day'"``, ``"function shop.helper"``, ``"global shop.LIMIT (new)"``."""
    accepted: bool
    """Whether the present code counts as a former version, by ``f.cache.accept()``."""

    @property
    def hit(self) -> bool:
        """Whether the call would be answered from storage."""
        return self.reason == "stored"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        yield f"{self.function}: {'hit' if self.hit else f'miss ({self.reason})'} {self.path}"
        if self.accepted:
            yield "  the code was edited since, and accept() let it count as the former version"
        if self.entry is not None:
            yield f"  stored {_when(self.entry)}"
            if self.reason == "expired" and self.entry.expires is not None:
                yield f"  expired {self.entry.expires:%Y-%m-%d %H:%M:%S} UTC: raise the ttl to use it"
        if self.hit:
            return
        if self.nearest is None:
            if self.entry is None:
                yield "  nothing that could be compared is stored of this function"
            return
        yield f"  nearest stored result: {self.nearest.path}, {_when(self.nearest)}"
        for difference in self.differences:
            yield f"  differs: {difference}"


def nearest(parts: Mapping[str, str], entries: Iterable[Entry]) -> tuple[Entry | None, tuple[str, ...]]:
    """The entry whose parts have most in common with ``parts``, the newest of several, and what differs."""
    best: Entry | None = None
    best_rank = (0, 0.0)
    for entry in entries:
        if not entry.parts:
            continue
        rank = (-len(_differing(parts, entry.parts)), entry.created.timestamp())
        if best is None or rank > best_rank:
            best, best_rank = entry, rank
    return best, () if best is None else tuple(_named(parts, best.parts))


def _differing(parts: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    return [name for name in {**parts, **others} if parts.get(name) != others.get(name)]


def _named(parts: Mapping[str, str], others: Mapping[str, str]) -> Iterable[str]:
    names = _differing(parts, others)
    for name in names:
        if name == "code" and len(names) > 1:
            continue  # Which code it is, the others say.
        yield name + ("" if name in parts and name in others else " (new)" if name in parts else " (gone)")


def _when(entry: Entry) -> str:
    arguments = f" for ({entry.arguments})" if entry.arguments else ""
    return f"{entry.created:%Y-%m-%d %H:%M:%S} UTC{arguments}"
