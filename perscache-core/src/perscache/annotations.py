"""What the annotation of a parameter may say about its part in the key: `Ignore` and `HashBy`."""

from __future__ import annotations

import ast
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import CellType, FunctionType, UnionType
from typing import Any, Final, Literal


class _Marker(Enum):
    IGNORE = "Ignore"


Ignore: Final[Literal[_Marker.IGNORE]] = _Marker.IGNORE
"""``def f(client: Annotated[Client, Ignore])``: the argument is no part of the key, and is never touched."""


@dataclass(frozen=True, slots=True)
class HashBy:
    """``def f(config: Annotated[Config, HashBy(fn)])``: what ``fn`` returns stands for the argument."""

    by: Callable[[Any], Any]


def marks(function: FunctionType) -> dict[str, Literal[_Marker.IGNORE] | HashBy]:
    """What the annotations of a function say, by parameter.

    Annotations that are texts are evaluated one by one, as far as they can be: names that exist for type checkers only
    do not hide a mark beside them.
    """
    found: dict[str, Literal[_Marker.IGNORE] | HashBy] = {}
    for name, annotation in _annotations(function).items():
        for mark in _marks_in(annotation, function):
            found.setdefault(name, mark)
    return found


def _annotations(function: FunctionType) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return dict(annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF))
    return function.__annotations__


def _marks_in(annotation: Any, function: FunctionType) -> Iterator[Literal[_Marker.IGNORE] | HashBy]:
    if isinstance(annotation, str):
        yield from _marks_in_text(annotation, function)
    elif typing.get_origin(annotation) is typing.Annotated:
        for mark in annotation.__metadata__:
            if mark is Ignore or isinstance(mark, HashBy):
                yield mark
    elif typing.get_origin(annotation) in {typing.Union, UnionType}:
        for member in typing.get_args(annotation):
            yield from _marks_in(member, function)


def _marks_in_text(text: str, function: FunctionType) -> Iterator[Literal[_Marker.IGNORE] | HashBy]:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node is not tree and "[" in node.value:
            yield from _marks_in_text(node.value, function)
        elif (
            isinstance(node, ast.Subscript)
            and _last_name(node.value) == "Annotated"
            and isinstance(node.slice, ast.Tuple)
        ):
            for argument in node.slice.elts[1:]:
                mark = _evaluated(argument, function)
                if mark is Ignore or isinstance(mark, HashBy):
                    yield mark
        elif isinstance(node, ast.Name | ast.Attribute) and node is tree:
            value = _evaluated(node, function)  # an alias: Connection = Annotated[Client, Ignore]
            if not isinstance(value, str):
                yield from _marks_in(value, function)


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _evaluated(node: ast.expr, function: FunctionType) -> Any:
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    closure = {name: cell.cell_contents for name, cell in cells.items() if cell != CellType()}
    expression = compile(ast.Expression(node), "<annotation>", "eval")
    try:
        return eval(expression, function.__globals__, closure)  # noqa: S307 - the annotation of the user's own function
    except Exception:  # noqa: BLE001 - it cannot be evaluated here, so it is none of our marks
        return None
