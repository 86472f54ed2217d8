"""The canonical form of a syntax tree: what runs, without how it is written."""

from __future__ import annotations

import ast
import inspect
from marshal import dumps
from typing import Any, TypeAlias

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_LEFT_OUT = frozenset({"ctx", "kind", "type_comment", "type_params", "type_ignores"})


def canonical(node: Definition, *, texts: bool) -> bytes:
    """The bytes of a function's code: the same for all ways to write it, on all versions of Python.

    Its own name, decorators and defaults are left out, since the live function has them. ``texts`` keeps docstrings and
    annotations, for code that reads them.
    """
    form = _Form(texts=texts)
    body = form.of(node.body) if isinstance(node, ast.Lambda) else form.block(node.body, documented=True)
    tree: tuple[Any, ...] = (type(node).__name__, form.parameters(node.args, defaults=False), body)
    if texts and not isinstance(node, ast.Lambda):
        tree = (*tree, form.of(node.returns))
    return dumps(tree, 2)


class _Form:
    """Takes a tree apart into tuples of names and typed constants, all of which `marshal` frames."""

    def __init__(self, *, texts: bool) -> None:
        self.texts = texts
        self.in_class = False

    def of(self, node: Any) -> Any:
        if isinstance(node, ast.AST):
            special = getattr(self, f"_{type(node).__name__}", None)
            return special(node) if special else self._plain(node)
        if isinstance(node, list):
            if node and isinstance(node[0], ast.stmt):
                return self.block(node)
            return tuple([self.of(item) for item in node])
        return node

    def _plain(self, node: ast.AST) -> Any:
        fields = [(name, self.of(getattr(node, name, None))) for name in node._fields if name not in _LEFT_OUT]
        return (type(node).__name__, *[field for field in fields if field[1] is not None and field[1] != ()])

    def block(self, body: list[ast.stmt], *, documented: bool = False) -> Any:
        """Statements, without those that only stand there: texts, ``...`` and ``pass``."""
        kept: list[Any] = []
        for position, statement in enumerate(body):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if self.texts and documented and not position and isinstance(text, str):
                    kept.append(("doc", inspect.cleandoc(text)))
            elif not isinstance(statement, ast.Pass):
                kept.append(self.of(statement))
        return tuple(kept)

    def parameters(self, node: ast.arguments, *, defaults: bool) -> Any:
        """Names of parameters by kind; of each default whether there is one, or the expression."""
        groups = (node.posonlyargs, node.args, [node.vararg], node.kwonlyargs, [node.kwarg])
        names = tuple([tuple([argument.arg for argument in group if argument]) for group in groups])
        values: Any = (len(node.defaults), tuple([default is not None for default in node.kw_defaults]))
        if defaults:
            values = (self.of(node.defaults), self.of(node.kw_defaults))
        notes = ()
        if self.texts:
            notes = tuple([self.of(argument.annotation) for group in groups for argument in group if argument])
        return (names, values, notes)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Any:
        outer, self.in_class = self.in_class, False
        try:
            body = self.block(node.body, documented=True)
        finally:
            self.in_class = outer
        returns = self.of(node.returns) if self.texts else None
        decorators = self.of(node.decorator_list)
        return (type(node).__name__, node.name, decorators, self.parameters(node.args, defaults=True), body, returns)

    _FunctionDef = _function
    _AsyncFunctionDef = _function

    def _Lambda(self, node: ast.Lambda) -> Any:  # noqa: N802
        return ("Lambda", self.parameters(node.args, defaults=True), self.of(node.body))

    def _ClassDef(self, node: ast.ClassDef) -> Any:  # noqa: N802
        outer, self.in_class = self.in_class, True
        try:
            body = self.block(node.body, documented=True)
        finally:
            self.in_class = outer
        return ("ClassDef", node.name, self.of(node.decorator_list), self.of(node.bases), self.of(node.keywords), body)

    def _AnnAssign(self, node: ast.AnnAssign) -> Any:  # noqa: N802
        if self.texts or self.in_class:  # fields of a dataclass are written so
            return ("AnnAssign", self.of(node.target), self.of(node.annotation), self.of(node.value))
        if node.value is None:  # runs nothing, but makes the name a local one
            return ("Local", self.of(node.target)) if isinstance(node.target, ast.Name) else ()
        return ("Assign", ("targets", (self.of(node.target),)), ("value", self.of(node.value)))

    def _Constant(self, node: ast.Constant) -> Any:  # noqa: N802
        return ("Constant", node.value)

    def _JoinedStr(self, node: ast.JoinedStr) -> Any:  # noqa: N802
        # Versions of Python cut the constant text between the braces differently.
        pieces: list[Any] = []
        for value in node.values:
            if isinstance(value, ast.Constant):
                if value.value and pieces and isinstance(pieces[-1], str):
                    pieces[-1] += str(value.value)
                elif value.value:
                    pieces.append(str(value.value))
            else:
                pieces.append(self.of(value))
        return ("JoinedStr", tuple(pieces))

    def _Global(self, node: ast.Global | ast.Nonlocal) -> Any:  # noqa: N802
        return (type(node).__name__, tuple(sorted(node.names)))

    _Nonlocal = _Global
