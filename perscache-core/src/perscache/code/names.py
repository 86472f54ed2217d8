"""What a code object names: globals, closure cells and imports that it uses, and which of them it changes itself."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any

Chain = tuple[str, ...]
"""A name and the attributes that are read from it: ``("np", "linalg", "norm")``."""

TEXTS = frozenset({
    "__doc__", "__annotations__", "__annotate__", "__signature__", "__text_signature__",
    "get_type_hints", "get_annotations", "getdoc", "signature", "getfullargspec", "getsource", "getcomments",
})  # fmt: skip
"""Names by which code reads what the key of other code leaves out."""

MUTATORS = frozenset({
    "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem", "popleft",
    "remove", "reverse", "rotate", "setdefault", "sort", "subtract", "update", "__setitem__", "__delitem__",
    "move_to_end", "difference_update", "intersection_update", "symmetric_difference_update",
})  # fmt: skip
"""Methods by which containers are filled and emptied."""


@dataclass(slots=True)
class Uses:
    """What a code object and the code inside it name. Read-only once made."""

    chains: set[Chain] = field(default_factory=set)
    """From globals."""
    free: set[Chain] = field(default_factory=set)
    """From the closure."""
    changed: set[Chain] = field(default_factory=set)
    """Globals that are assigned, filled, or have an attribute set."""
    changed_free: set[Chain] = field(default_factory=set)
    """The same for the closure."""
    filled_local: set[Chain] = field(default_factory=set)
    """Parameters and what hangs on them, if an item of it is set or a method called that changes containers."""
    assigned_local: set[Chain] = field(default_factory=set)
    """Attributes of parameters that are set."""
    called: set[Chain] = field(default_factory=set)
    """What methods from globals are called on, if of that name are methods that change containers."""
    called_free: set[Chain] = field(default_factory=set)
    """The same for the closure."""
    words: set[str] = field(default_factory=set)
    """Attributes and texts: what may be read from a module that is passed around."""
    imports: set[tuple[str, int, tuple[str, ...]]] = field(default_factory=set)
    """Imports inside the code, by statement or by a call with the name written out: module, level, names."""

    @property
    def texts(self) -> bool:
        """Whether docstrings, annotations or source are read."""
        used = {name for chain in self.chains for name in chain}
        return not TEXTS.isdisjoint(used | self.words)


@lru_cache(maxsize=4096)
def uses(code: CodeType) -> Uses:
    """What ``code`` names, nested functions, classes and comprehensions included."""
    found = Uses()
    _collect(code, found, frozenset(code.co_freevars), outermost=True)
    found.chains = {
        chain for chain in found.chains if not chain[0].startswith("@")
    }  # pytest's, in rewritten assertions
    return found


def _collect(code: CodeType, found: Uses, free: frozenset[str], *, outermost: bool) -> None:
    _Reading(code, found, free, outermost=outermost).read()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            shadowed = frozenset(constant.co_freevars) & free
            _collect(constant, found, shadowed, outermost=False)
        else:
            found.words.update(_texts(constant))


def _texts(constant: Any) -> Iterator[str]:
    if isinstance(constant, str):
        if constant.isidentifier():
            yield constant
    elif isinstance(constant, tuple | frozenset):
        for item in constant:
            yield from _texts(item)


@dataclass(slots=True)
class _Symbol:
    """What an instruction left on the stack: a chain from a global ("g"), a free variable ("f") or a local ("l")."""

    kind: str
    chain: Chain
    item: bool = False
    """Whether it is an item of the chain, whose own attributes do not matter."""
    extended: bool = False
    """Whether an attribute is read from it, so that a longer chain tells more."""


class _Reading:
    """Follows the stack along a code object, as far as needed to tell whose item or attribute is set."""

    def __init__(self, code: CodeType, found: Uses, free: frozenset[str], *, outermost: bool) -> None:
        self.code, self.found, self.free, self.outermost = code, found, free, outermost
        self.stack: list[_Symbol | None] = []
        self.symbols: list[_Symbol] = []
        self.at_targets: dict[int, list[_Symbol | None]] = {}

    def read(self) -> None:
        unreachable = False
        constants: list[Any] = []
        for instruction in dis.get_instructions(self.code):
            if unreachable or (instruction.is_jump_target and instruction.offset in self.at_targets):
                self.stack = list(self.at_targets.get(instruction.offset, ()))
            name = instruction.opname
            if name == "IMPORT_NAME":
                level, names = constants[-2:] if len(constants) > 1 else (0, None)
                self.found.imports.add((instruction.argval, level or 0, names or ()))
            elif name == "LOAD_CONST" and self._calls_import():
                self._imported(instruction.argval)
            constants = [*constants[-1:], instruction.argval] if name in _CONSTANTS else []
            self._step(instruction)
            if instruction.opcode in _JUMPS:
                self.at_targets.setdefault(instruction.argval, list(self.stack))
            unreachable = name in _ENDS
        for symbol in self.symbols:
            self._record(symbol)

    def _calls_import(self) -> bool:
        """Whether what is pushed next is the first argument of ``importlib.import_module`` or ``__import__``."""
        # Python 3.13 may push a NULL behind the callee, 3.11 and 3.12 before it.
        callee = next((symbol for symbol in reversed(self.stack[-2:]) if symbol), None)
        return callee is not None and callee.kind == "g" and callee.chain[-1] in {"import_module", "__import__"}

    def _imported(self, name: Any) -> None:
        if isinstance(name, str):
            module = name.lstrip(".")
            self.found.imports.add((module, len(name) - len(module), ()))

    def _record(self, symbol: _Symbol) -> None:
        if symbol.kind == "g":
            target = self.found.chains
        elif symbol.kind == "f":
            target = self.found.free
        else:
            return
        if not symbol.extended:
            target.add(symbol.chain)

    def _push(self, kind: str, chain: Chain) -> None:
        symbol = _Symbol(kind, chain)
        self.symbols.append(symbol)
        self.stack.append(symbol)

    def _pop(self) -> _Symbol | None:
        return self.stack.pop() if self.stack else None

    def _step(self, instruction: dis.Instruction) -> None:  # noqa: C901 - one branch an instruction
        name, value = instruction.opname, instruction.argval
        if name in _GLOBALS:
            if name == "LOAD_GLOBAL" and (instruction.arg or 0) & 1:
                self.stack.append(None)
            elif name == "LOAD_FROM_DICT_OR_GLOBALS":
                self._pop()
            self._push("g", (value,))
        elif name in _CELLS:
            if name == "LOAD_FROM_DICT_OR_DEREF":
                self._pop()
            self._push("f" if value in self.free else "l", (value,))
        elif name in _FASTS:
            for local in value if isinstance(value, tuple) else (value,):
                self._push("l", (local,))
        elif name in {"LOAD_ATTR", "LOAD_METHOD"}:
            self._attribute(instruction)
        elif name == "COPY":
            self.stack.append(self.stack[-value] if len(self.stack) >= value else None)
        elif name == "SWAP":
            if len(self.stack) >= value:
                self.stack[-1], self.stack[-value] = self.stack[-value], self.stack[-1]
        elif name in {"BINARY_SUBSCR", "BINARY_SLICE"} or (name == "BINARY_OP" and instruction.argrepr == "[]"):
            for _ in range(2 if name == "BINARY_SLICE" else 1):
                self._pop()
            container = self._pop()
            self.stack.append(container and _Symbol(container.kind, container.chain, item=True))
        elif name in _SETS:
            below = _SETS[name]
            self._changed(self.stack[-below] if len(self.stack) >= below else None, value if below == 1 else None)
            self._move(instruction)
        elif name in {"STORE_GLOBAL", "DELETE_GLOBAL"}:
            self.found.changed.add((value,))
            self._move(instruction)
        elif name in {"STORE_DEREF", "DELETE_DEREF"}:
            if value in self.free:
                self.found.changed_free.add((value,))
            self._move(instruction)
        elif name not in _STILL:
            self._move(instruction)
        if name in _NAMING and isinstance(value, str):
            self.found.words.add(value)

    def _attribute(self, instruction: dis.Instruction) -> None:
        owner = self._pop()
        is_method = instruction.opname == "LOAD_METHOD" or dis.stack_effect(instruction.opcode, instruction.arg) == 1
        if is_method:
            self.stack.append(None)
        if owner is None:
            self.stack.append(None)
            return
        owner.extended = True
        chain = (*owner.chain, instruction.argval)
        if instruction.argval in MUTATORS:
            self._called(owner)
        if owner.item:  # an attribute of an item: the chain ends at the container
            self.stack.append(_Symbol(owner.kind, owner.chain, item=True))
        else:
            self._push(owner.kind, chain)

    def _changed(self, symbol: _Symbol | None, attribute: str | None) -> None:
        """An item of what the symbol stands for is set, or its ``attribute``."""
        if symbol is None:
            return
        chain = symbol.chain if attribute is None or symbol.item else (*symbol.chain, attribute)
        if symbol.kind == "g":
            self.found.changed.add(chain)
            self.found.chains.add(symbol.chain)
        elif symbol.kind == "f":
            self.found.changed_free.add(chain)
        elif self.outermost:
            (self.found.filled_local if attribute is None else self.found.assigned_local).add(chain)

    def _called(self, symbol: _Symbol) -> None:
        if symbol.kind == "g":
            self.found.called.add(symbol.chain)
        elif symbol.kind == "f":
            self.found.called_free.add(symbol.chain)
        elif self.outermost:
            self.found.filled_local.add(symbol.chain)

    def _move(self, instruction: dis.Instruction) -> None:
        """Any other instruction: only how much it takes and leaves is known."""
        effect = dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
        for _ in range(-effect):
            self._pop()
        if effect <= 0 and self.stack and instruction.opname not in _ONLY_TAKE:
            self.stack[-1] = None
        self.stack.extend([None] * max(effect, 0))


_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_CELLS = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_FASTS = frozenset({
    "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_LOAD_FAST",
    "LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
})  # fmt: skip
_CONSTANTS = frozenset({"LOAD_CONST", "LOAD_SMALL_INT"})
_NAMING = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"})
_SETS = {"STORE_SUBSCR": 2, "DELETE_SUBSCR": 2, "STORE_ATTR": 1, "DELETE_ATTR": 1, "STORE_SLICE": 3}
_STILL = frozenset(
    {"CACHE", "COPY_FREE_VARS", "EXTENDED_ARG", "KW_NAMES", "MAKE_CELL", "NOP", "NOT_TAKEN", "PRECALL", "RESUME"}
)
_ONLY_TAKE = frozenset({
    "POP_TOP", "STORE_FAST", "STORE_GLOBAL", "STORE_DEREF", "STORE_NAME", "STORE_SUBSCR", "STORE_ATTR", "STORE_SLICE",
    "DELETE_SUBSCR", "DELETE_ATTR", "DELETE_FAST", "DELETE_GLOBAL", "DELETE_DEREF", "STORE_FAST_STORE_FAST",
    "POP_JUMP_IF_FALSE", "POP_JUMP_IF_TRUE", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE",
    "POP_JUMP_FORWARD_IF_FALSE", "POP_JUMP_FORWARD_IF_TRUE", "POP_JUMP_FORWARD_IF_NONE",
    "POP_JUMP_FORWARD_IF_NOT_NONE", "POP_JUMP_BACKWARD_IF_FALSE", "POP_JUMP_BACKWARD_IF_TRUE", "JUMP_FORWARD",
    "JUMP_BACKWARD", "LIST_APPEND", "SET_ADD", "MAP_ADD", "POP_EXCEPT", "JUMP_BACKWARD_NO_INTERRUPT",
    "SETUP_ANNOTATIONS",
})  # fmt: skip
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_ENDS = frozenset({"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD"})
