"""The definition of a function in its source, where that is proven to be what runs."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from marshal import dumps
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from ..parsing import again
from .tree import Definition, canonical


def identity(code: CodeType, namespace: dict[str, Any], *, texts: bool = False) -> bytes:
    """What a code object runs: its canonical tree, or the code itself where no source is proven to be its own."""
    if (definition := _definition(code, namespace)) is not None:
        with suppress(RecursionError, ValueError):  # deeper than the walk of it, or than marshal, can go
            return b"T" + canonical(definition, texts=texts)
    version = sys.implementation.cache_tag or ""
    return b"P" + dumps(version, 2) + _plain(code, texts=texts)


def _definition(code: CodeType, namespace: dict[str, Any]) -> Definition | None:
    index = _index_of(code.co_filename, namespace)
    if index is None:
        return None
    running = _plain(code)
    for definition, compiled in index.get(code.co_qualname, ()):
        if _plain(compiled) == running:
            return definition
    rewritten = _rewritten(code.co_filename, namespace)
    if rewritten is not None:
        for definition, compiled in rewritten.get(code.co_qualname, ()):
            if _plain(compiled) == running:
                return definition
    return None


_Index = dict[str, list[tuple[Definition, CodeType]]]


class _Version(NamedTuple):
    """One state of a file."""

    path: str
    changed: int
    size: int


def _index_of(filename: str, namespace: dict[str, Any]) -> _Index | None:
    version = _version(filename)
    return _compiled(version) if version else _compiled_text(filename, _text_without_file(filename, namespace))


def _version(filename: str) -> _Version | None:
    try:
        found = os.stat(filename)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return _Version(filename, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1024)
def _compiled(version: _Version) -> _Index | None:
    try:
        source = Path(version.path).read_bytes()
    except OSError:
        return None
    return _parsed(source, version.path)


def _text_without_file(filename: str, namespace: dict[str, Any]) -> str | None:
    """Source that lies in no file: a notebook's cell, a console that keeps its lines, a module inside a zip."""
    if lines := linecache.getlines(filename, namespace):
        return "".join(lines)
    return None


@lru_cache(maxsize=256)
def _compiled_text(filename: str, text: str | None) -> _Index | None:
    return None if text is None else _parsed(text, filename)


def _parsed(source: bytes | str, filename: str) -> _Index | None:
    try:
        with _compiling():
            tree = _tree(source, filename)
            return _matched(tree, again(lambda: compile(tree, filename, "exec", dont_inherit=True)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@contextmanager
def _compiling() -> Iterator[None]:
    """One thread at a time, since filters of warnings are everybody's; and silently: the import has warned."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _tree(source: bytes | str, filename: str) -> ast.Module:
    return again(lambda: ast.parse(source, filename))


_one_at_a_time = threading.RLock()


def _forget_parents() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.RLock()  # A thread of the parent may have held it.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


def _matched(tree: ast.Module, module: CodeType) -> _Index:
    """Definitions and their code objects, by qualified name: several for overloads, branches, lambdas."""
    definitions: dict[tuple[str, int], list[Definition]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *[decorator.lineno for decorator in node.decorator_list]])
            definitions.setdefault((node.name, first), []).append(node)
        elif isinstance(node, ast.Lambda):
            definitions.setdefault(("<lambda>", node.lineno), []).append(node)
    index: _Index = {}
    for code in _nested(module):
        candidates = definitions.get((code.co_name, code.co_firstlineno), ())
        if len(candidates) == 1:
            index.setdefault(code.co_qualname, []).append((candidates[0], code))
        elif candidates:  # several lambdas on one line: the one in which the code lies
            places = [place for place in code.co_positions() if place[0] is not None and place[2] is not None]
            inside = [node for node in candidates if all(_covers(node, place) for place in places[1:])]
            if inside:
                smallest = min(
                    inside, key=lambda node: (node.end_lineno or 0, (node.end_col_offset or 0) - node.col_offset)
                )
                index.setdefault(code.co_qualname, []).append((smallest, code))
    return index


def _covers(node: Definition, place: Any) -> bool:
    line, end_line, column, end_column = place
    begins = (node.lineno, node.col_offset) <= (line, column)
    return begins and (end_line or line, end_column or column) <= (node.end_lineno or 0, node.end_col_offset or 0)


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _rewritten(filename: str, namespace: dict[str, Any]) -> _Index | None:
    """The same file as pytest compiles it, with its assertions rewritten; None where pytest does not."""
    loader = getattr(namespace.get("__spec__"), "loader", None) or namespace.get("__loader__")
    if type(loader).__name__ != "AssertionRewritingHook":
        return None
    version = _version(filename)
    return None if version is None else _compiled_by_pytest(version, loader)


@lru_cache(maxsize=256)
def _compiled_by_pytest(version: _Version, loader: Any) -> _Index | None:
    try:
        from _pytest.assertion.rewrite import rewrite_asserts

        source = Path(version.path).read_bytes()

        def compiled() -> CodeType:
            tree = ast.parse(source, version.path)
            rewrite_asserts(tree, source, version.path, loader.config)
            return compile(tree, version.path, "exec", dont_inherit=True)

        with _compiling():
            return _matched(_tree(source, version.path), again(compiled))
    except Exception:  # noqa: BLE001 - another version of pytest costs a key made of bytecode, no more
        return None


def _plain(code: CodeType, *, texts: bool = True, name: str = "") -> bytes:
    """All of a code object that decides what it does, without names of files, lines and columns."""
    constants = code.co_consts
    if not texts and constants and isinstance(constants[0], str) and _is_documented(code):
        constants = (None, *constants[1:])
    return b"".join(
        [
            dumps(
                (
                    name,
                    code.co_argcount,
                    code.co_posonlyargcount,
                    code.co_kwonlyargcount,
                    code.co_flags,
                    code.co_code,
                    code.co_names,
                    code.co_varnames,
                    code.co_freevars,
                    code.co_cellvars,
                    code.co_exceptiontable,
                ),
                2,
            ),
            *[_plain_constant(constant, texts=texts) for constant in constants],
            b"|",
        ]
    )


def _is_documented(code: CodeType) -> bool:
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & inspect.CO_HAS_DOCSTRING)
    return bool(code.co_flags & inspect.CO_OPTIMIZED) and not code.co_name.startswith("<")


def _plain_constant(value: Any, *, texts: bool) -> bytes:
    if isinstance(value, CodeType):
        return b"c" + _plain(value, texts=texts, name=value.co_name)
    if isinstance(value, tuple):
        return b"(" + b"".join([_plain_constant(item, texts=texts) for item in value]) + b")"
    if isinstance(value, frozenset):
        return b">" + b"".join(sorted(_plain_constant(item, texts=texts) for item in value)) + b")"
    return dumps(value, 2)
