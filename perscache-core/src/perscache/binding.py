"""The binding of arguments to parameters, done by Python itself: a twin of the function returns what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from .code.names import uses
from .errors import ConfigurationError, UnkeyableError
from .fingerprint import Encoder

_FILLED = "a default that the function fills"
_POSITIONAL, _KEYWORDS = 0x04, 0x08  # CO_VARARGS, CO_VARKEYWORDS


class Binder(NamedTuple):
    """``bind(*args, **kwargs)`` gives the values of the parameters ``names``, defaults filled in."""

    bind: Callable[..., tuple[Any, ...]]
    names: tuple[str, ...]
    whole: int
    """How many positional arguments are, as they come, the values of all parameters; -1 where none ever are."""


class Parameters:
    """The names of a function's parameters, by kind."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.only_positional: tuple[str, ...] = ()
        self.ordinary: tuple[str, ...] = ()
        self.only_keyword: tuple[str, ...] = ()
        self.rest: str | None = "args"
        self.keywords: str | None = "kwargs"
        if isinstance(function, FunctionType):
            self._read(function.__code__)

    def _read(self, code: CodeType) -> None:
        names, count = code.co_varnames, code.co_argcount
        self.only_positional = names[: code.co_posonlyargcount]
        self.ordinary = names[code.co_posonlyargcount : count]
        self.only_keyword = names[count : count + code.co_kwonlyargcount]
        after = iter(names[count + code.co_kwonlyargcount :])
        self.rest = next(after) if code.co_flags & _POSITIONAL else None
        self.keywords = next(after) if code.co_flags & _KEYWORDS else None

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the definition."""
        rest = (self.rest,) if self.rest else ()
        keywords = (self.keywords,) if self.keywords else ()
        return (*self.only_positional, *self.ordinary, *rest, *self.only_keyword, *keywords)

    def check(self, ignored: tuple[str, ...], function: str) -> frozenset[str]:
        """The names to leave out. Raises ConfigurationError for one that the function cannot be given."""
        for name in ignored:
            if not isinstance(name, str):
                raise ConfigurationError(f"ignore= of {function} holds {name!r}: give names of parameters")
            if name not in self.names and self.keywords is None:
                raise ConfigurationError(f"ignore={name!r}: {function} has no such parameter{self._suggestion(name)}")
        return frozenset(ignored)

    def _suggestion(self, name: str) -> str:
        from difflib import get_close_matches

        if close := get_close_matches(name, self.names, 1):
            return f"; did you mean {close[0]!r}?"
        return f"; it has {', '.join(map(repr, self.names))}" if self.names else "; it has none"

    def binder(
        self,
        function: Callable[..., Any],
        ignored: frozenset[str],
        by: Mapping[str, Callable[[Any], Any]],
        encoder: Encoder,
    ) -> Binder:
        """Make the twin. What is ``ignored`` is never touched, and ``by`` says what stands for a parameter."""
        names = tuple(name for name in self.names if name not in ignored)
        scope: dict[str, Any] = {"_perscache_by": dict(by), "_perscache_ignored": ignored}
        defaults = _defaults(function)
        marked = _unkeyable_defaults(function, defaults, encoder)
        values = [self._expression(name, by, ignored, marked, scope) for name in names]
        source = f"def bind({self._signature(defaults)}): return ({''.join(f'{value}, ' for value in values)})"
        exec(source, scope)  # noqa: S102 - made of names of parameters only
        twin = scope["bind"]
        twin.__defaults__ = getattr(function, "__defaults__", None)
        twin.__kwdefaults__ = getattr(function, "__kwdefaults__", None)
        twin.__name__ = getattr(function, "__name__", "function")
        twin.__qualname__ = getattr(function, "__qualname__", twin.__name__)
        whole = len(values) if values == [*self.only_positional, *self.ordinary] else -1
        return Binder(twin, names, whole)

    def _signature(self, defaults: Mapping[str, Any]) -> str:
        def written(name: str) -> str:
            return f"{name}=None" if name in defaults else name

        pieces = [written(name) for name in self.only_positional]
        if self.only_positional:
            pieces.append("/")
        pieces += [written(name) for name in self.ordinary]
        if self.rest:
            pieces.append(f"*{self.rest}")
        elif self.only_keyword:
            pieces.append("*")
        pieces += [written(name) for name in self.only_keyword]
        if self.keywords:
            pieces.append(f"**{self.keywords}")
        return ", ".join(pieces)

    def _expression(
        self,
        name: str,
        by: Mapping[str, Callable[[Any], Any]],
        ignored: frozenset[str],
        marked: Mapping[str, tuple[Any, Any]],
        scope: dict[str, Any],
    ) -> str:
        value = name
        if name == self.keywords and not ignored <= set(self.names):
            value = f"{{name: value for name, value in {name}.items() if name not in _perscache_ignored}}"
        if name in by:
            call = f"_perscache_by[{name!r}]"
            if name == self.rest:
                return f"tuple(map({call}, {value}))"
            if name == self.keywords:
                return f"{{name: {call}(value) for name, value in {value}.items()}}"
            return f"{call}({value})"
        if name in marked:
            scope[f"_perscache_default_{name}"], scope[f"_perscache_mark_{name}"] = marked[name]
            return f"(_perscache_mark_{name} if {name} is _perscache_default_{name} else {name})"
        return value


def _defaults(function: Any) -> dict[str, Any]:
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    values = function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    return {**dict(zip(names[len(names) - len(values) :], values, strict=True)), **(function.__kwdefaults__ or {})}


def _unkeyable_defaults(function: Any, defaults: Mapping[str, Any], encoder: Encoder) -> dict[str, tuple[Any, Any]]:
    """Defaults that are known by being the default: sentinels, and containers that the function keeps its state in."""
    found: dict[str, tuple[Any, Any]] = {}
    filled = uses(function.__code__).filled_local if defaults else ()
    for name, value in defaults.items():
        if isinstance(value, dict | list | set) and any(chain[0] == name for chain in filled):
            found[name] = (value, _FILLED)
            continue
        try:
            encoder.encode(value)
        except RecursionError:
            raise  # The caller has left too little of the stack.
        except UnkeyableError:
            found[name] = (value, f"default of {name}")
        except Exception:  # noqa: BLE001, S112 - a user's own rule may fail; the call will show it
            continue
    return found
