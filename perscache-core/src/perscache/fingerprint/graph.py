"""The encoding of values that contain themselves or are nested deep: member by member, whatever the stack.

What leads to no cycle is encoded as ever, from the leaves up. What does is its infinite unfolding: a cycle and the same
unrolled are one value. Members that unfold alike get one number, which stands for them in what holds them. They are
told apart by partition refinement, where of each split all parts but the largest are worked on (Hopcroft, "An n log n
algorithm for minimizing states in a finite automaton", 1971): once among all members, and again among one of each
sort, so that the numbers hang on nothing but the value.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from operator import attrgetter
from types import FrameType
from typing import Any

from blake3 import blake3

from ..errors import PerscacheError, UnkeyableError
from .encoder import COUNT, LONG, Build, Encoder, Handler, Pass, RaisedByRule, type_name, why_unreadable

_DEEPEST = 200_000
"""Levels below which a value is taken for one that makes new members for ever."""
_SHOWN = 8


class Graph(Pass):
    """One encoding of one value, whose members are found breadth first."""

    __slots__ = ("here", "made", "members", "queue")

    here: _Member

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.members: dict[int, _Member] = {}
        self.queue: list[_Member] = []
        self.made: dict[int, tuple[Any, Any]] = {}

    def run(self, value: Any, encode: Build) -> bytes:
        """The bytes of ``value``: those of a `Pass`, if it has no cycles."""
        root = _Member(value, encode, 0, 0)
        self.queue.append(root)
        for member in self.queue:  # grows while it is read
            if member.depth > _DEEPEST:
                self._give_up(member)
            self._visit(member)
        self._settle()
        if root.data is not None:
            return root.data
        entangled = _entangled(root)
        self._refine(entangled)
        sorts: dict[int, _Member] = {}
        for member in entangled:
            member.sort = sorts.setdefault(member.number, member)
        self._refine(sorts.values())
        forms = [self._form(member) for member in sorted(sorts.values(), key=attrgetter("number"))]
        return b"R" + self._form(root) + blake3(b"".join([blake3(form).digest() for form in forms])).digest()

    def node(self, value: Any, build: Build) -> bytes:
        here, member = self.here, self.members.get(id(value))
        if member is None:
            member = self.members[id(value)] = _Member(value, build, here.depth + 1, self.inside)
            self.queue.append(member)
        member.holders[here] = here.members[member] = None
        if member.error is not None:
            raise UnkeyableError(path=member.error.path, reason=member.error.reason) from member.error.__cause__
        return b"@" + COUNT(member.sort.number) if member.data is None else member.data

    def failed(self, value: Any, error: Exception) -> bytes:
        if isinstance(error, RecursionError) and _is_stack_full():
            raise error  # it is not the value that is to blame, and another call may well succeed
        return self.refuse(value, why_unreadable(error), error)

    def expand(self, value: Any, parts: Handler) -> Any:
        known = self.made.get(id(value))
        if known is None:
            known = self.made[id(value)] = (value, parts(value))
        return known[1]

    def _form(self, member: _Member) -> bytes:
        """What a member is, as far as its own members are known."""
        self.here, self.inside = member, member.inside
        try:
            data = member.build(self, member.value)
        except (PerscacheError, RaisedByRule):
            raise
        except Exception as error:  # noqa: BLE001 - as in `encode`
            data = self.failed(member.value, error)
        return data if len(data) <= LONG or member.depth == 0 else self.digest(data)

    def _visit(self, member: _Member) -> None:
        try:
            data = self._form(member)
        except UnkeyableError as error:
            self._fail(member, error)
        else:
            if not member.members:
                member.data = data

    def _fail(self, member: _Member, error: UnkeyableError) -> None:
        """Let what holds a refused member do without it, or be refused too, up to the value itself."""
        member.error = error.with_traceback(None)
        refused = [member]
        for found in refused:  # grows while it is read
            if found.depth == 0 and found.error is not None:
                raise found.error
            for holder in found.holders:
                if holder.error is None:
                    try:
                        self._form(holder)
                    except UnkeyableError as above:
                        holder.error = above.with_traceback(None)
                        refused.append(holder)

    def _give_up(self, member: _Member) -> None:
        """Refuse a value that is nested too deep, naming the first steps of the way."""
        while member.depth > _SHOWN:
            member = next(iter(member.holders))
        error = UnkeyableError(
            f"{type_name(type(member.value))} is nested more than {_DEEPEST:,} levels deep, or for ever"
        )
        self._fail(member, error)
        raise error

    def _settle(self) -> None:
        """Encode all members that lead to no cycle, from the leaves up."""
        waiting = {member: len(member.members) for member in self.queue}
        settled = [member for member in self.queue if member.is_settled]
        for member in settled:  # grows while it is read
            for holder in member.holders:
                waiting[holder] -= 1
                if not waiting[holder] and not holder.is_settled:
                    holder.data = self._form(holder)
                    settled.append(holder)

    def _refine(self, members: Iterable[_Member]) -> None:
        """Number the members so that those alone that unfold alike have one number."""
        holders: dict[_Member, list[_Member]] = {member: [] for member in members}
        for member in holders:
            member.number = 0
            for held in member.members:
                if held.sort in holders:
                    holders[held.sort].append(member)
        cells, forms = [set(holders)], [b""]
        dirty = set(holders)
        while dirty:
            found: dict[int, dict[bytes, set[_Member]]] = {}
            for member in dirty:
                found.setdefault(member.number, {}).setdefault(self._form(member), set()).add(member)
            moved: list[_Member] = []
            for number in sorted(found):
                moved += _split(number, found[number], cells, forms)
            dirty = {holder for member in moved for holder in holders[member]}


class _Member:
    """A value that holds others, or is held."""

    __slots__ = ("build", "data", "depth", "error", "holders", "inside", "members", "number", "sort", "value")

    def __init__(self, value: Any, build: Build, depth: int, inside: int) -> None:
        self.value, self.build, self.depth, self.inside = value, build, depth, inside
        self.members: dict[_Member, None] = {}
        self.holders: dict[_Member, None] = {}
        self.data: bytes | None = None
        self.error: UnkeyableError | None = None
        self.number = 0
        self.sort = self

    @property
    def is_settled(self) -> bool:
        """Whether it is known for good what it is."""
        return self.data is not None or self.error is not None


def _is_stack_full() -> bool:
    """Whether more than half of the stack was in use before any of this."""
    depth = 0
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return 2 * depth > sys.getrecursionlimit()


def _entangled(root: _Member) -> list[_Member]:
    """What ``root`` leads to, and what leads to a cycle itself."""
    found = {root: None}
    queue = [root]
    for member in queue:  # grows while it is read
        for held in member.members:
            if held not in found and not held.is_settled:
                found[held] = None
                queue.append(held)
    return queue[1:]


def _split(
    number: int, groups: dict[bytes, set[_Member]], cells: list[set[_Member]], forms: list[bytes]
) -> list[_Member]:
    """Give all groups but the largest a number of their own; returns who has one now.

    Members of the cell that stand in no group have the form that the cell had.
    """
    cell, form = cells[number], forms[number]
    sizes = {found: len(group) for found, group in groups.items()}
    if rest := len(cell) - sum(sizes.values()):
        sizes[form] = sizes.get(form, 0) + rest
    kept = max(sizes, key=lambda found: (sizes[found], found))
    if rest and kept != form:
        groups.setdefault(form, set()).update(cell.difference(*groups.values()))
    moved: list[_Member] = []
    for found in sorted(groups.keys() - {kept}):
        for member in groups[found]:
            member.number = len(cells)
        cell -= groups[found]
        cells.append(groups[found])
        forms.append(found)
        moved += groups[found]
    forms[number] = kept
    return moved
