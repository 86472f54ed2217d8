"""What of a change to code changes keys: pairs of programs, each imported from files and asked through the public surface."""

from __future__ import annotations

import importlib
import linecache
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SAME, OTHER = "same key", "another key"

HEAD = """\
from perscache import Cache
cache = Cache(storage="memory://")
"""


def _files(program: str) -> dict[str, str]:
    """A program in one text: ``app.py`` first, then what follows lines such as ``#: helpers.py``."""
    files: dict[str, list[str]] = {"app.py": []}
    name = "app.py"
    for line in textwrap.dedent(program).splitlines():
        if line.startswith("#: "):
            name = line.removeprefix("#: ").strip()
            files[name] = []
        else:
            files[name].append(line)
    return {name: "\n".join(lines) + "\n" for name, lines in files.items()}


@contextmanager
def _imported(program: str, folder: Path) -> Iterator[Any]:
    """The module ``app`` of a program, freshly imported from files in ``folder``."""
    names = set()
    for name, text in _files(program).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((HEAD if name == "app.py" else "") + text)
        names.add(name.partition("/")[0].removesuffix(".py"))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    linecache.clearcache()
    try:
        yield importlib.import_module("app")
    finally:
        sys.path.remove(str(folder))
        for module in [module for module in sys.modules if module.partition(".")[0] in names]:
            del sys.modules[module]


def _key(program: str, folder: Path) -> str:
    with _imported(program, folder) as app:
        call: Callable[[], str] = getattr(app, "key", lambda: app.f.cache.key(1))
        return call()


OWN_CODE = [
    ("a comment", SAME, "@cache\ndef f(x):\n    return x", "@cache\ndef f(x):\n    # why\n    return x"),
    ("blank lines and indentation", SAME, "@cache\ndef f(x):\n    return x", "\n\n\n@cache\ndef f(x):\n\n\n        return x"),
    ("a docstring", SAME, "@cache\ndef f(x):\n    return x", '@cache\ndef f(x):\n    "What it does."\n    return x'),
    ("another docstring", SAME, '@cache\ndef f(x):\n    "A."\n    return x', '@cache\ndef f(x):\n    "B."\n    return x'),
    ("annotations", SAME, "@cache\ndef f(x):\n    return x", "@cache\ndef f(x: int) -> int:\n    return x"),
    ("an annotated local", SAME, "@cache\ndef f(x):\n    y = x\n    return y", "@cache\ndef f(x):\n    y: int = x\n    return y"),
    ("brackets", SAME, "@cache\ndef f(x):\n    return x + 1", "@cache\ndef f(x):\n    return (\n        (x) + 1\n    )"),
    ("quotes", SAME, "@cache\ndef f(x):\n    return 'a'", '@cache\ndef f(x):\n    return "a"'),
    ("a text in two pieces", SAME, "@cache\ndef f(x):\n    return 'ab'", "@cache\ndef f(x):\n    return 'a' 'b'"),
    ("how a number is written", SAME, "@cache\ndef f(x):\n    return 1000", "@cache\ndef f(x):\n    return 1_000"),
    ("the base of a number", SAME, "@cache\ndef f(x):\n    return 255", "@cache\ndef f(x):\n    return 0xff"),
    ("elif for else if", SAME, "@cache\ndef f(x):\n    if x:\n        return 1\n    elif x is None:\n        return 2",
     "@cache\ndef f(x):\n    if x:\n        return 1\n    else:\n        if x is None:\n            return 2"),
    ("semicolons", SAME, "@cache\ndef f(x):\n    y = x\n    return y", "@cache\ndef f(x):\n    y = x; return y"),
    ("pass beside code", SAME, "@cache\ndef f(x):\n    return x", "@cache\ndef f(x):\n    pass\n    return x"),
    ("another function in the file", SAME, "@cache\ndef f(x):\n    return x", "def other():\n    return 5\n@cache\ndef f(x):\n    return x"),
    ("an unused global", SAME, "A = 1\n@cache\ndef f(x):\n    return x", "A = 2\n@cache\ndef f(x):\n    return x"),
    ("an unused import", SAME, "@cache\ndef f(x):\n    return x", "import json\n@cache\ndef f(x):\n    return x"),
    ("a constant", OTHER, "@cache\ndef f(x):\n    return x + 1", "@cache\ndef f(x):\n    return x + 2"),
    ("1 to True", OTHER, "@cache\ndef f(x):\n    return 1", "@cache\ndef f(x):\n    return True"),
    ("1 to 1.0", OTHER, "@cache\ndef f(x):\n    return 1", "@cache\ndef f(x):\n    return 1.0"),
    ("0.0 to -0.0", OTHER, "@cache\ndef f(x):\n    return 0.0", "@cache\ndef f(x):\n    return -0.0"),
    ("text to bytes", OTHER, "@cache\ndef f(x):\n    return 'a'", "@cache\ndef f(x):\n    return b'a'"),
    ("True to 1 in a tuple", OTHER, "@cache\ndef f(x):\n    return (x, (True, 2))", "@cache\ndef f(x):\n    return (x, (1, 2))"),
    ("an operator", OTHER, "@cache\ndef f(x):\n    return x + 1", "@cache\ndef f(x):\n    return x - 1"),
    ("the order of operands", OTHER, "@cache\ndef f(x):\n    return x - 1", "@cache\ndef f(x):\n    return 1 - x"),
    ("the order of statements", OTHER, "@cache\ndef f(x):\n    x += 1\n    x *= 2\n    return x", "@cache\ndef f(x):\n    x *= 2\n    x += 1\n    return x"),
    ("an indented line", OTHER, "@cache\ndef f(x):\n    for i in x:\n        y = i\n    return y", "@cache\ndef f(x):\n    for i in x:\n        y = i\n        return y"),
    ("a called method", OTHER, "@cache\ndef f(x):\n    return x.upper()", "@cache\ndef f(x):\n    return x.lower()"),
    ("a called builtin", OTHER, "@cache\ndef f(x):\n    return min(x)", "@cache\ndef f(x):\n    return max(x)"),
    ("an f-string's format", OTHER, "@cache\ndef f(x):\n    return f'{x:.1f}'", "@cache\ndef f(x):\n    return f'{x:.2f}'"),
    ("an f-string's conversion", OTHER, "@cache\ndef f(x):\n    return f'{x!r}'", "@cache\ndef f(x):\n    return f'{x!s}'"),
    ("a comprehension", OTHER, "@cache\ndef f(x):\n    return [i for i in x]", "@cache\ndef f(x):\n    return [i + 1 for i in x]"),
    ("list to generator", OTHER, "@cache\ndef f(x):\n    return sum([i for i in x])", "@cache\ndef f(x):\n    return sum(i for i in x)"),
    ("an inner function", OTHER, "@cache\ndef f(x):\n    def g():\n        return 1\n    return g()", "@cache\ndef f(x):\n    def g():\n        return 2\n    return g()"),
    ("an inner function's default", OTHER, "@cache\ndef f(x):\n    def g(a=1):\n        return a\n    return g()", "@cache\ndef f(x):\n    def g(a=2):\n        return a\n    return g()"),
    ("an inner function's decorator", OTHER, "def d(g):\n    return g\n@cache\ndef f(x):\n    def g():\n        return 1\n    return g()", "def d(g):\n    return g\n@cache\ndef f(x):\n    @d\n    def g():\n        return 1\n    return g()"),
    ("an inner docstring", SAME, "@cache\ndef f(x):\n    def g():\n        return 1\n    return g()", "@cache\ndef f(x):\n    def g():\n        'doc'\n        return 1\n    return g()"),
    ("an inner lambda", OTHER, "@cache\ndef f(x):\n    return map(lambda a: a, x)", "@cache\ndef f(x):\n    return map(lambda a: -a, x)"),
    ("an inner class's field", OTHER, "@cache\ndef f(x):\n    class C:\n        a = 1\n    return C.a", "@cache\ndef f(x):\n    class C:\n        a = 2\n    return C.a"),
    ("a match case", OTHER, "@cache\ndef f(x):\n    match x:\n        case 1: return 1", "@cache\ndef f(x):\n    match x:\n        case 2: return 1"),
    ("except clauses", OTHER, "@cache\ndef f(x):\n    try: return x()\n    except ValueError: return 1", "@cache\ndef f(x):\n    try: return x()\n    except TypeError: return 1"),
    ("a name made local", OTHER, "y = 1\n@cache\ndef f(x):\n    return y", "y = 1\n@cache\ndef f(x):\n    y: int\n    return y"),
    ("a keyword at a call", OTHER, "@cache\ndef f(x):\n    return sorted(x, reverse=True)", "@cache\ndef f(x):\n    return sorted(x, reverse=False)"),
    ("an import inside", OTHER, "@cache\ndef f(x):\n    from math import sin as g\n    return g(x)", "@cache\ndef f(x):\n    from math import cos as g\n    return g(x)"),
    ("function to coroutine", OTHER, "@cache\ndef f(x):\n    return x", "@cache\nasync def f(x):\n    return x"),
    ("return to yield", OTHER, "@cache\ndef f(x):\n    return x", "@cache\ndef f(x):\n    yield x"),
    ("a lambda", OTHER, "f = cache(lambda x: x + 1)", "f = cache(lambda x: x + 2)"),
    ("a lambda's place", SAME, "f = cache(lambda x: x + 1)", "\n\nf = cache(\n    lambda x: x + 1\n)"),
    ("one of two lambdas on a line", OTHER, "f, g = cache(lambda x: x + 1), lambda x: x + 2", "f, g = cache(lambda x: x + 2), lambda x: x + 1"),
    ("the other of two lambdas on a line", SAME, "f, g = cache(lambda x: x + 1), lambda x: x + 2", "f, g = cache(lambda x: x + 1), lambda x: x + 3"),
    ("a docstring that the code reads", OTHER, "@cache\ndef f(x):\n    'one'\n    return f.__doc__", "@cache\ndef f(x):\n    'two'\n    return f.__doc__"),
    ("annotations that the code reads", OTHER, "@cache\ndef f(x: int):\n    return f.__annotations__", "@cache\ndef f(x: str):\n    return f.__annotations__"),
    ("type hints that the code reads", OTHER, "import typing\n@cache\ndef f(x: int):\n    return typing.get_type_hints(f)", "import typing\n@cache\ndef f(x: str):\n    return typing.get_type_hints(f)"),
    ("a docstring that a helper reads", OTHER, "def h(x):\n    'one'\ndef g(a):\n    return a.__doc__\n@cache\ndef f(x):\n    return g(h)", "def h(x):\n    'two'\ndef g(a):\n    return a.__doc__\n@cache\ndef f(x):\n    return g(h)"),
    ("a default that the call gives", SAME, "@cache\ndef f(x, y=1):\n    return x\ndef key():\n    return f.cache.key(1, 2)", "@cache\ndef f(x, y=5):\n    return x\ndef key():\n    return f.cache.key(1, 2)"),
    ("a default that the call leaves", OTHER, "@cache\ndef f(x, y=1):\n    return x", "@cache\ndef f(x, y=5):\n    return x"),
    ("a keyword default that the call leaves", OTHER, "@cache\ndef f(x, *, y=1):\n    return x", "@cache\ndef f(x, *, y=5):\n    return x"),
    ("a default written as an expression", SAME, "@cache\ndef f(x, y=4):\n    return x", "@cache\ndef f(x, y=2 + 2):\n    return x"),
    ("its decorator's arguments", SAME, "@cache\ndef f(x):\n    return x", "@cache(ttl=60)\ndef f(x):\n    return x"),
    ("its storage", SAME, "@cache\ndef f(x):\n    return x", "@cache(storage='memory://')\ndef f(x):\n    return x"),
    ("its version", OTHER, "@cache(version=1)\ndef f(x):\n    return x", "@cache(version=2)\ndef f(x):\n    return x"),
    ("its name", OTHER, "@cache\ndef f(x):\n    return x\ndef key():\n    return f.cache.key(1)", "@cache\ndef g(x):\n    return x\ndef key():\n    return g.cache.key(1)"),
    ("its name under name=", SAME, "@cache(name='n')\ndef f(x):\n    return x\ndef key():\n    return f.cache.key(1)", "@cache(name='n')\ndef g(x):\n    return x\ndef key():\n    return g.cache.key(1)"),
    ("a deep expression", OTHER, "@cache\ndef f(x):\n    return " + "+".join(["x"] * 600), "@cache\ndef f(x):\n    return " + "+".join(["x"] * 601)),
]  # fmt: skip

_USES = "from helpers import g\n@cache\ndef f(x):\n    return g(x)\n#: helpers.py\n"
_USES_MODULE = "import helpers\n@cache\ndef f(x):\n    return helpers.g(x)\n#: helpers.py\n"

HELPERS = [
    ("a helper", OTHER, "def g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", "def g(x):\n    return 2\n@cache\ndef f(x):\n    return g(x)"),
    ("a helper's comment", SAME, "def g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", "def g(x):\n    'doc'\n    return 1  # one\n@cache\ndef f(x):\n    return g(x)"),
    ("a helper below", OTHER, "@cache\ndef f(x):\n    return g(x)\ndef g(x):\n    return 1", "@cache\ndef f(x):\n    return g(x)\ndef g(x):\n    return 2"),
    ("a helper's place", SAME, "@cache\ndef f(x):\n    return g(x)\ndef g(x):\n    return 1", "def g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)"),
    ("a helper of a helper", OTHER, "def h(x):\n    return 1\ndef g(x):\n    return h(x)\n@cache\ndef f(x):\n    return g(x)", "def h(x):\n    return 2\ndef g(x):\n    return h(x)\n@cache\ndef f(x):\n    return g(x)"),
    ("an unused helper", SAME, "def h(x):\n    return 1\n@cache\ndef f(x):\n    return x", "def h(x):\n    return 2\n@cache\ndef f(x):\n    return x"),
    ("a helper in another file", OTHER, _USES + "def g(x):\n    return 1", _USES + "def g(x):\n    return 2"),
    ("its neighbour there", SAME, _USES + "def g(x):\n    return 1\ndef h():\n    return 1", _USES + "def g(x):\n    return 1\ndef h():\n    return 2"),
    ("a helper by its module", OTHER, _USES_MODULE + "def g(x):\n    return 1", _USES_MODULE + "def g(x):\n    return 2"),
    ("its neighbour by its module", SAME, _USES_MODULE + "def g(x):\n    return 1\ndef h():\n    return 1", _USES_MODULE + "def g(x):\n    return 1\ndef h():\n    return 2"),
    ("a helper moved to another file", SAME, "def g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", _USES + "def g(x):\n    return 1"),
    ("a chain through packages", OTHER, "import pack.sub.mod\n@cache\ndef f(x):\n    return pack.sub.mod.g(x)\n#: pack/__init__.py\n#: pack/sub/__init__.py\n#: pack/sub/mod.py\ndef g(x):\n    return 1",
     "import pack.sub.mod\n@cache\ndef f(x):\n    return pack.sub.mod.g(x)\n#: pack/__init__.py\n#: pack/sub/__init__.py\n#: pack/sub/mod.py\ndef g(x):\n    return 2"),
    ("a relative import", OTHER, "from pack.mod import h\n@cache\ndef f(x):\n    return h(x)\n#: pack/__init__.py\n#: pack/mod.py\nfrom .low import g\ndef h(x):\n    return g(x)\n#: pack/low.py\ndef g(x):\n    return 1",
     "from pack.mod import h\n@cache\ndef f(x):\n    return h(x)\n#: pack/__init__.py\n#: pack/mod.py\nfrom .low import g\ndef h(x):\n    return g(x)\n#: pack/low.py\ndef g(x):\n    return 2"),
    ("a relative import inside", OTHER, "from pack.mod import h\n@cache\ndef f(x):\n    return h(x)\n#: pack/__init__.py\n#: pack/mod.py\ndef h(x):\n    from .low import g\n    return g(x)\n#: pack/low.py\ndef g(x):\n    return 1",
     "from pack.mod import h\n@cache\ndef f(x):\n    return h(x)\n#: pack/__init__.py\n#: pack/mod.py\ndef h(x):\n    from .low import g\n    return g(x)\n#: pack/low.py\ndef g(x):\n    return 2"),
    ("an import inside a function", OTHER, "@cache\ndef f(x):\n    from helpers import g\n    return g(x)\n#: helpers.py\ndef g(x):\n    return 1", "@cache\ndef f(x):\n    from helpers import g\n    return g(x)\n#: helpers.py\ndef g(x):\n    return 2"),
    ("a module imported inside", OTHER, "@cache\ndef f(x):\n    import helpers as h\n    return h.g(x)\n#: helpers.py\ndef g(x):\n    return 1", "@cache\ndef f(x):\n    import helpers as h\n    return h.g(x)\n#: helpers.py\ndef g(x):\n    return 2"),
    ("a dotted module imported inside", OTHER, "@cache\ndef f(x):\n    import pack.low\n    return pack.low.g(x)\n#: pack/__init__.py\n#: pack/low.py\ndef g(x):\n    return 1", "@cache\ndef f(x):\n    import pack.low\n    return pack.low.g(x)\n#: pack/__init__.py\n#: pack/low.py\ndef g(x):\n    return 2"),
    ("the neighbour of an import inside", SAME, "@cache\ndef f(x):\n    from helpers import g\n    return g(x)\n#: helpers.py\ndef g(x):\n    return 1\ndef h():\n    return 1", "@cache\ndef f(x):\n    from helpers import g\n    return g(x)\n#: helpers.py\ndef g(x):\n    return 1\ndef h():\n    return 2"),
    ("a module under an alias", OTHER, "import helpers\n@cache\ndef f(x):\n    m = helpers\n    return m.g(x)\n#: helpers.py\ndef g(x):\n    return 1", "import helpers\n@cache\ndef f(x):\n    m = helpers\n    return m.g(x)\n#: helpers.py\ndef g(x):\n    return 2"),
    ("getattr with a text", OTHER, "import helpers\n@cache\ndef f(x):\n    return getattr(helpers, 'g')(x)\n#: helpers.py\ndef g(x):\n    return 1", "import helpers\n@cache\ndef f(x):\n    return getattr(helpers, 'g')(x)\n#: helpers.py\ndef g(x):\n    return 2"),
    ("which helper a name means", OTHER, "def a(x):\n    return 1\ndef b(x):\n    return 2\ng = a\n@cache\ndef f(x):\n    return g(x)", "def a(x):\n    return 1\ndef b(x):\n    return 2\ng = b\n@cache\ndef f(x):\n    return g(x)"),
    ("a helper in a comprehension", OTHER, "def g(x):\n    return 1\n@cache\ndef f(x):\n    return [g(i) for i in x]", "def g(x):\n    return 2\n@cache\ndef f(x):\n    return [g(i) for i in x]"),
    ("a helper in an inner function", OTHER, "def g(x):\n    return 1\n@cache\ndef f(x):\n    def h():\n        return g(x)\n    return h()", "def g(x):\n    return 2\n@cache\ndef f(x):\n    def h():\n        return g(x)\n    return h()"),
    ("a helper in an inner lambda", OTHER, "def g(x):\n    return 1\n@cache\ndef f(x):\n    return (lambda: g(x))()", "def g(x):\n    return 2\n@cache\ndef f(x):\n    return (lambda: g(x))()"),
    ("a helper as a default", OTHER, "def g(x):\n    return 1\n@cache\ndef f(x, by=g):\n    return by(x)", "def g(x):\n    return 2\n@cache\ndef f(x, by=g):\n    return by(x)"),
    ("a helper's default", OTHER, "def g(x, n=1):\n    return n\n@cache\ndef f(x):\n    return g(x)", "def g(x, n=2):\n    return n\n@cache\ndef f(x):\n    return g(x)"),
    ("a helper's keyword default", OTHER, "def g(x, *, n=1):\n    return n\n@cache\ndef f(x):\n    return g(x)", "def g(x, *, n=2):\n    return n\n@cache\ndef f(x):\n    return g(x)"),
    ("recursion", SAME, "@cache\ndef f(x):\n    return f(x - 1)", "@cache\ndef f(x):\n    return f(x - 1)  # same"),
    ("recursion of two", OTHER, "def g(x):\n    return f(x)\n@cache\ndef f(x):\n    return g(x)", "def g(x):\n    return f(x) + 1\n@cache\ndef f(x):\n    return g(x)"),
    ("a cycle of modules", OTHER, "import other\n@cache\ndef f(x):\n    return other.g(x)\ndef low(x):\n    return 1\n#: other.py\nimport app\ndef g(x):\n    return app.low(x)", "import other\n@cache\ndef f(x):\n    return other.g(x)\ndef low(x):\n    return 2\n#: other.py\nimport app\ndef g(x):\n    return app.low(x)"),
    ("a dict of functions", OTHER, "def a(x):\n    return 1\nOPS = {'a': a}\n@cache\ndef f(x):\n    return OPS['a'](x)", "def a(x):\n    return 2\nOPS = {'a': a}\n@cache\ndef f(x):\n    return OPS['a'](x)"),
    ("a list of lambdas", OTHER, "OPS = [lambda x: 1]\n@cache\ndef f(x):\n    return OPS[0](x)", "OPS = [lambda x: 2]\n@cache\ndef f(x):\n    return OPS[0](x)"),
    ("a set of functions", OTHER, "def a(x):\n    return 1\ndef b(x):\n    return 2\nOPS = {a, b}\n@cache\ndef f(x):\n    return [g(x) for g in OPS]", "def a(x):\n    return 1\ndef b(x):\n    return 3\nOPS = {a, b}\n@cache\ndef f(x):\n    return [g(x) for g in OPS]"),
    ("the order of a set of functions", SAME, "def a(x):\n    return 1\ndef b(x):\n    return 2\nOPS = {a, b}\n@cache\ndef f(x):\n    return [g(x) for g in OPS]", "def b(x):\n    return 2\ndef a(x):\n    return 1\nOPS = {b, a}\n@cache\ndef f(x):\n    return [g(x) for g in OPS]"),
    ("a table keyed by types", OTHER, "def a(x):\n    return 1\nOPS = {int: a, str: len}\n@cache\ndef f(x):\n    return OPS[type(x)](x)", "def a(x):\n    return 2\nOPS = {int: a, str: len}\n@cache\ndef f(x):\n    return OPS[type(x)](x)"),
    ("a partial's function", OTHER, "from functools import partial\ndef a(n, x):\n    return 1\ng = partial(a, 1)\n@cache\ndef f(x):\n    return g(x)", "from functools import partial\ndef a(n, x):\n    return 2\ng = partial(a, 1)\n@cache\ndef f(x):\n    return g(x)"),
    ("a partial's argument", OTHER, "from functools import partial\ndef a(n, x):\n    return 1\ng = partial(a, 1)\n@cache\ndef f(x):\n    return g(x)", "from functools import partial\ndef a(n, x):\n    return 1\ng = partial(a, 2)\n@cache\ndef f(x):\n    return g(x)"),
    ("a bound method", OTHER, "class A:\n    def m(self, x):\n        return 1\ng = A().m\n@cache\ndef f(x):\n    return g(x)", "class A:\n    def m(self, x):\n        return 2\ng = A().m\n@cache\ndef f(x):\n    return g(x)"),
    ("a user's decorator", OTHER, "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(x):\n        return g(x) + 1\n    return w\n@d\ndef g(x):\n    return x\n@cache\ndef f(x):\n    return g(x)", "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(x):\n        return g(x) + 2\n    return w\n@d\ndef g(x):\n    return x\n@cache\ndef f(x):\n    return g(x)"),
    ("what a user's decorator wraps", OTHER, "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(x):\n        return g(x) + 1\n    return w\n@d\ndef g(x):\n    return x\n@cache\ndef f(x):\n    return g(x)", "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(x):\n        return g(x) + 1\n    return w\n@d\ndef g(x):\n    return -x\n@cache\ndef f(x):\n    return g(x)"),
    ("a decorator below the cache", OTHER, "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(x):\n        return g(x) + 1\n    return w\n@cache\n@d\ndef f(x):\n    return x", "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(x):\n        return g(x) + 2\n    return w\n@cache\n@d\ndef f(x):\n    return x"),
    ("what lies below that decorator", OTHER, "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(x):\n        return g(x) + 1\n    return w\n@cache\n@d\ndef f(x):\n    return x", "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(x):\n        return g(x) + 1\n    return w\n@cache\n@d\ndef f(x):\n    return x * 2"),
    ("a decorator's argument", OTHER, "def d(n):\n    def e(g):\n        def w(x):\n            return g(x) + n\n        return w\n    return e\n@d(1)\ndef g(x):\n    return x\n@cache\ndef f(x):\n    return g(x)", "def d(n):\n    def e(g):\n        def w(x):\n            return g(x) + n\n        return w\n    return e\n@d(2)\ndef g(x):\n    return x\n@cache\ndef f(x):\n    return g(x)"),
    ("behind lru_cache", OTHER, "import functools\n@functools.lru_cache\ndef g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", "import functools\n@functools.lru_cache\ndef g(x):\n    return 2\n@cache\ndef f(x):\n    return g(x)"),
    ("behind contextmanager", OTHER, "import contextlib\n@contextlib.contextmanager\ndef g():\n    yield 1\n@cache\ndef f(x):\n    with g() as y:\n        return y", "import contextlib\n@contextlib.contextmanager\ndef g():\n    yield 2\n@cache\ndef f(x):\n    with g() as y:\n        return y"),
    ("singledispatch's default", OTHER, "import functools\n@functools.singledispatch\ndef g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", "import functools\n@functools.singledispatch\ndef g(x):\n    return 2\n@cache\ndef f(x):\n    return g(x)"),
    ("a registered implementation", OTHER, "import functools\n@functools.singledispatch\ndef g(x):\n    return 1\n@g.register(int)\ndef _(x):\n    return 3\n@cache\ndef f(x):\n    return g(x)", "import functools\n@functools.singledispatch\ndef g(x):\n    return 1\n@g.register(int)\ndef _(x):\n    return 4\n@cache\ndef f(x):\n    return g(x)"),
    ("another cached function", OTHER, "@cache\ndef g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", "@cache\ndef g(x):\n    return 2\n@cache\ndef f(x):\n    return g(x)"),
    ("its settings", SAME, "@cache\ndef g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", "@cache(ttl=3, serializer='json')\ndef g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)"),
    ("whether it is cached", SAME, "def g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", "@cache\ndef g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)"),
    ("its version by hand", OTHER, "@cache(version=1)\ndef g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)", "@cache(version=2)\ndef g(x):\n    return 1\n@cache\ndef f(x):\n    return g(x)"),
    ("another function of the standard library", OTHER, "from math import sin as g\n@cache\ndef f(x):\n    return g(x)", "from math import cos as g\n@cache\ndef f(x):\n    return g(x)"),
    ("an attribute of a function", OTHER, "def g(x):\n    return 1\ng.limit = 1\n@cache\ndef f(x):\n    return g.limit", "def g(x):\n    return 1\ng.limit = 2\n@cache\ndef f(x):\n    return g.limit"),
    ("a callable object", OTHER, "class G:\n    def __call__(self, x):\n        return 1\ng = G()\n@cache\ndef f(x):\n    return g(x)", "class G:\n    def __call__(self, x):\n        return 2\ng = G()\n@cache\ndef f(x):\n    return g(x)"),
    ("a helper from exec", OTHER, "exec('def g(x): return 1')\n@cache\ndef f(x):\n    return g(x)", "exec('def g(x): return 2')\n@cache\ndef f(x):\n    return g(x)"),
    ("a conditional definition", OTHER, "if True:\n    def g(x):\n        return 1\nelse:\n    def g(x):\n        return 2\n@cache\ndef f(x):\n    return g(x)", "if False:\n    def g(x):\n        return 1\nelse:\n    def g(x):\n        return 2\n@cache\ndef f(x):\n    return g(x)"),
    ("a lazily given module attribute", OTHER, "import helpers\n@cache\ndef f(x):\n    return helpers.g(x)\n#: helpers.py\ndef __getattr__(name):\n    import deep\n    return getattr(deep, name)\n#: deep.py\ndef g(x):\n    return 1", "import helpers\n@cache\ndef f(x):\n    return helpers.g(x)\n#: helpers.py\ndef __getattr__(name):\n    import deep\n    return getattr(deep, name)\n#: deep.py\ndef g(x):\n    return 2"),
]  # fmt: skip


def _reads(value: str) -> str:
    return f"LIMIT = {value}\n@cache\ndef f(x):\n    return LIMIT"


GLOBALS = [
    ("a number", OTHER, _reads("1"), _reads("2")),
    ("a number's type", OTHER, _reads("1"), _reads("1.0")),
    ("how a number is made", SAME, _reads("4"), _reads("2 + 2")),
    ("a dict", OTHER, _reads("{'a': 1}"), _reads("{'a': 2}")),
    ("the order of a dict", SAME, _reads("{'a': 1, 'b': 2}"), _reads("{'b': 2, 'a': 1}")),
    ("the order of a set", SAME, _reads("{'x', 'y', 'z'}"), _reads("{'z', 'y', 'x'}")),
    ("a nested list", OTHER, _reads("[[1], [2]]"), _reads("[[1], [3]]")),
    ("a compiled pattern", OTHER, "import re\n" + _reads("re.compile('a')"), "import re\n" + _reads("re.compile('b')")),
    ("a global of another module", OTHER, "import conf\n@cache\ndef f(x):\n    return conf.LIMIT\n#: conf.py\nLIMIT = 1", "import conf\n@cache\ndef f(x):\n    return conf.LIMIT\n#: conf.py\nLIMIT = 2"),
    ("its neighbour", SAME, "import conf\n@cache\ndef f(x):\n    return conf.LIMIT\n#: conf.py\nLIMIT = 1\nOTHER = 1", "import conf\n@cache\ndef f(x):\n    return conf.LIMIT\n#: conf.py\nLIMIT = 1\nOTHER = 2"),
    ("a global of a helper", OTHER, "LIMIT = 1\ndef g():\n    return LIMIT\n@cache\ndef f(x):\n    return g()", "LIMIT = 2\ndef g():\n    return LIMIT\n@cache\ndef f(x):\n    return g()"),
    ("a settings object", OTHER, "from types import SimpleNamespace\n" + _reads("SimpleNamespace(a=1)"), "from types import SimpleNamespace\n" + _reads("SimpleNamespace(a=2)")),
    ("an instance's field", OTHER, "class C:\n    def __init__(self, a):\n        self.a = a\nC1 = C(1)\n@cache\ndef f(x):\n    return C1.a", "class C:\n    def __init__(self, a):\n        self.a = a\nC1 = C(2)\n@cache\ndef f(x):\n    return C1.a"),
    ("a named tuple", OTHER, "from collections import namedtuple\nP = namedtuple('P', 'a b')\n" + _reads("P(1, 2)"), "from collections import namedtuple\nP = namedtuple('P', 'a b')\n" + _reads("P(1, 3)")),
    ("the names of a named tuple", OTHER, "from collections import namedtuple\nP = namedtuple('P', 'a b')\n" + _reads("P(1, 2)"), "from collections import namedtuple\nP = namedtuple('P', 'b a')\n" + _reads("P(1, 2)")),
    ("a counter that the code assigns", SAME, "n = 0\n@cache\ndef f(x):\n    global n\n    n += 1\n    return x", "n = 5\n@cache\ndef f(x):\n    global n\n    n += 1\n    return x"),
    ("a memo that the code fills", SAME, "memo = {}\n@cache\ndef f(x):\n    memo[x] = 1\n    return memo[x]", "memo = {1: 1}\n@cache\ndef f(x):\n    memo[x] = 1\n    return memo[x]"),
    ("a list that the code appends to", SAME, "log = []\n@cache\ndef f(x):\n    log.append(x)\n    return x", "log = [1]\n@cache\ndef f(x):\n    log.append(x)\n    return x"),
    ("a memo that a helper fills", SAME, "memo = {}\ndef g(x):\n    memo[x] = 1\n@cache\ndef f(x):\n    g(x)\n    return memo[x]", "memo = {2: 2}\ndef g(x):\n    memo[x] = 1\n@cache\ndef f(x):\n    g(x)\n    return memo[x]"),
    ("a counter in an object", SAME, "class S: pass\ns = S()\ns.n = 0\n@cache\ndef f(x):\n    s.n += 1\n    return x", "class S: pass\ns = S()\ns.n = 4\n@cache\ndef f(x):\n    s.n += 1\n    return x"),
    ("a counter in a function's attribute", SAME, "def g():\n    g.n += 1\ng.n = 0\n@cache\ndef f(x):\n    g()\n    return x", "def g():\n    g.n += 1\ng.n = 3\n@cache\ndef f(x):\n    g()\n    return x"),
    ("a container that is only read with get", OTHER, "conf = {'a': 1}\n@cache\ndef f(x):\n    return conf.get('a')", "conf = {'a': 2}\n@cache\ndef f(x):\n    return conf.get('a')"),
    ("what is copied into a local", OTHER, "conf = {'a': 1}\n@cache\ndef f(x):\n    out = {}\n    out[x] = conf['a']\n    return out", "conf = {'a': 2}\n@cache\ndef f(x):\n    out = {}\n    out[x] = conf['a']\n    return out"),
    ("a logger's level", SAME, "import logging\nlog = logging.getLogger('a')\n@cache\ndef f(x):\n    log.info(x)", "import logging\nlog = logging.getLogger('a')\nlog.setLevel(10)\n@cache\ndef f(x):\n    log.info(x)"),
    ("a path beside the file", SAME, "from pathlib import Path\nROOT = Path(__file__).parent / 'data'\n@cache\ndef f(x):\n    return ROOT", "from pathlib import Path\nROOT = Path(__file__).parent / 'data'\n@cache\ndef f(x):\n    return ROOT"),
    ("another path beside the file", OTHER, "from pathlib import Path\nROOT = Path(__file__).parent / 'data'\n@cache\ndef f(x):\n    return ROOT", "from pathlib import Path\nROOT = Path(__file__).parent / 'more'\n@cache\ndef f(x):\n    return ROOT"),
    ("a text path beside the file", SAME, "import os\nROOT = os.path.dirname(os.path.abspath(__file__))\n@cache\ndef f(x):\n    return ROOT", "import os\nROOT = os.path.dirname(os.path.abspath(__file__))\n@cache\ndef f(x):\n    return ROOT"),
    ("a builtin that is shadowed", OTHER, "@cache\ndef f(x):\n    return len(x)", "def len(x):\n    return 1\n@cache\ndef f(x):\n    return len(x)"),
    ("a name that is not there", OTHER, "@cache\ndef f(x):\n    return MISSING", "MISSING = 1\n@cache\ndef f(x):\n    return MISSING"),
    ("a closure's number", OTHER, "def make(n):\n    def g(x):\n        return x + n\n    return g\nf = cache(make(1))", "def make(n):\n    def g(x):\n        return x + n\n    return g\nf = cache(make(2))"),
    ("a closure's function", OTHER, "def make(h):\n    def g(x):\n        return h(x)\n    return g\nf = cache(make(lambda x: 1))", "def make(h):\n    def g(x):\n        return h(x)\n    return g\nf = cache(make(lambda x: 2))"),
    ("a closure's counter", SAME, "def make(n):\n    def g(x):\n        nonlocal n\n        n += 1\n        return x\n    return g\nf = cache(make(1))", "def make(n):\n    def g(x):\n        nonlocal n\n        n += 1\n        return x\n    return g\nf = cache(make(2))"),
    ("a closure's memo", SAME, "def make(memo):\n    def g(x):\n        memo[x] = 1\n        return x\n    return g\nf = cache(make({}))", "def make(memo):\n    def g(x):\n        memo[x] = 1\n        return x\n    return g\nf = cache(make({1: 1}))"),
    ("a closure's list that is read", OTHER, "def make(a):\n    def g(x):\n        return a[x]\n    return g\nf = cache(make([1]))", "def make(a):\n    def g(x):\n        return a[x]\n    return g\nf = cache(make([2]))"),
    ("a memo as a default", SAME, "@cache\ndef f(x, memo={}):\n    memo[x] = 1\n    return x", "@cache\ndef f(x, memo={3: 3}):\n    memo[x] = 1\n    return x"),
    ("a global dict of a class used", OTHER, "class C:\n    a = 1\nT = {'c': C}\n@cache\ndef f(x):\n    return T['c'].a", "class C:\n    a = 2\nT = {'c': C}\n@cache\ndef f(x):\n    return T['c'].a"),
    ("the module's docstring that is read", OTHER, "@cache\ndef f(x):\n    return DOC\nDOC = 'a'", "@cache\ndef f(x):\n    return DOC\nDOC = 'b'"),
    ("a NaN", SAME, _reads("float('nan')"), _reads("float('n' + 'an')")),
    ("a lambda as a global", OTHER, _reads("lambda: 1"), _reads("lambda: 2")),
    ("a frozen set of texts", SAME, _reads("frozenset(('a', 'b', 'c'))"), _reads("frozenset(('c', 'b', 'a'))")),
    ("an enum member", OTHER, "from enum import Enum\nclass E(Enum):\n    A = 1\n    B = 2\n" + _reads("E.A"), "from enum import Enum\nclass E(Enum):\n    A = 1\n    B = 2\n" + _reads("E.B")),
    ("a global in an f-string", OTHER, "N = 1\n@cache\ndef f(x):\n    return f'{N}'", "N = 2\n@cache\ndef f(x):\n    return f'{N}'"),
    ("an instance that holds a lock", OTHER, "import threading\nclass C:\n    def __init__(self, a):\n        self.a, self.lock = a, threading.Lock()\nC1 = C(1)\n@cache\ndef f(x):\n    return C1.a", "import threading\nclass C:\n    def __init__(self, a):\n        self.a, self.lock = a, threading.Lock()\nC1 = C(2)\n@cache\ndef f(x):\n    return C1.a"),
    ("a lock", SAME, "import threading\nL = threading.Lock()\n@cache\ndef f(x):\n    with L:\n        return x", "import threading\nL = threading.Lock()\n@cache\ndef f(x):\n    with L:\n        return x"),
    ("a bare sentinel", SAME, "S = object()\n@cache\ndef f(x):\n    return x is S", "S = object()\n@cache\ndef f(x):\n    return x is S"),
]  # fmt: skip


def _class(body: str, use: str = "C().m()", head: str = "class C:") -> str:
    return f"{head}\n{textwrap.indent(body, '    ')}\n@cache\ndef f(x):\n    return {use}"


CLASSES = [
    ("a method", OTHER, _class("def m(self):\n    return 1"), _class("def m(self):\n    return 2")),
    ("a method's comment", SAME, _class("def m(self):\n    return 1"), _class("'Doc.'\ndef m(self):\n    'doc'\n    return 1  # one")),
    ("the order of methods", SAME, _class("def m(self):\n    return 1\ndef n(self):\n    return 2"), _class("def n(self):\n    return 2\ndef m(self):\n    return 1")),
    ("a method that a method uses", OTHER, _class("def m(self):\n    return self.n()\ndef n(self):\n    return 1"), _class("def m(self):\n    return self.n()\ndef n(self):\n    return 2")),
    ("a property", OTHER, _class("@property\ndef m(self):\n    return 1", "C().m"), _class("@property\ndef m(self):\n    return 2", "C().m")),
    ("a setter", OTHER, _class("@property\ndef m(self):\n    return 1\n@m.setter\ndef m(self, v):\n    self.v = v"), _class("@property\ndef m(self):\n    return 1\n@m.setter\ndef m(self, v):\n    self.v = -v")),
    ("a cached property", OTHER, "import functools\n" + _class("@functools.cached_property\ndef m(self):\n    return 1", "C().m"), "import functools\n" + _class("@functools.cached_property\ndef m(self):\n    return 2", "C().m")),
    ("a static method", OTHER, _class("@staticmethod\ndef m():\n    return 1"), _class("@staticmethod\ndef m():\n    return 2")),
    ("a class method", OTHER, _class("@classmethod\ndef m(cls):\n    return 1"), _class("@classmethod\ndef m(cls):\n    return 2")),
    ("a class attribute", OTHER, _class("a = 1", "C.a"), _class("a = 2", "C.a")),
    ("a private attribute", OTHER, _class("__a = 1\ndef m(self):\n    return self.__a"), _class("__a = 2\ndef m(self):\n    return self.__a")),
    ("a base's method", OTHER, "class B:\n    def m(self):\n        return 1\n" + _class("pass", head="class C(B):"), "class B:\n    def m(self):\n        return 2\n" + _class("pass", head="class C(B):")),
    ("a base's base", OTHER, "class A:\n    def m(self):\n        return 1\nclass B(A): pass\n" + _class("pass", head="class C(B):"), "class A:\n    def m(self):\n        return 2\nclass B(A): pass\n" + _class("pass", head="class C(B):")),
    ("which base", OTHER, "class A: pass\nclass B: a = 1\n" + _class("pass", "C.a", "class C(A, B):"), "class A: pass\nclass B: a = 1\n" + _class("pass", "C.a", "class C(B, A):")),
    ("super", OTHER, "class B:\n    def m(self):\n        return 1\n" + _class("def m(self):\n    return super().m()", head="class C(B):"), "class B:\n    def m(self):\n        return 2\n" + _class("def m(self):\n    return super().m()", head="class C(B):")),
    ("a metaclass", OTHER, "class M(type):\n    def m(cls):\n        return 1\n" + _class("pass", "C.m()", "class C(metaclass=M):"), "class M(type):\n    def m(cls):\n        return 2\n" + _class("pass", "C.m()", "class C(metaclass=M):")),
    ("an enum's value", OTHER, "from enum import Enum\n" + _class("A = 1", "C.A.value", "class C(Enum):"), "from enum import Enum\n" + _class("A = 2", "C.A.value", "class C(Enum):")),
    ("an enum's method", OTHER, "from enum import Enum\n" + _class("A = 1\ndef m(self):\n    return 1", "C.A.m()", "class C(Enum):"), "from enum import Enum\n" + _class("A = 1\ndef m(self):\n    return 2", "C.A.m()", "class C(Enum):")),
    ("an enum's order", OTHER, "from enum import Enum\n" + _class("A = 1\nB = 2", "list(C)", "class C(Enum):"), "from enum import Enum\n" + _class("B = 2\nA = 1", "list(C)", "class C(Enum):")),
    ("a dataclass's default", OTHER, "from dataclasses import dataclass\n" + _class("a: int = 1", "C().a", "@dataclass\nclass C:"), "from dataclasses import dataclass\n" + _class("a: int = 2", "C().a", "@dataclass\nclass C:")),
    ("a dataclass's factory", OTHER, "from dataclasses import dataclass, field\n" + _class("a: int = field(default_factory=lambda: 1)", "C().a", "@dataclass\nclass C:"), "from dataclasses import dataclass, field\n" + _class("a: int = field(default_factory=lambda: 2)", "C().a", "@dataclass\nclass C:")),
    ("the order of a dataclass's fields", OTHER, "from dataclasses import dataclass\n" + _class("a: int\nb: int", "C(1, 2).a", "@dataclass\nclass C:"), "from dataclasses import dataclass\n" + _class("b: int\na: int", "C(1, 2).a", "@dataclass\nclass C:")),
    ("a dataclass's options", OTHER, "from dataclasses import dataclass\n" + _class("a: int = 1", "C()", "@dataclass\nclass C:"), "from dataclasses import dataclass\n" + _class("a: int = 1", "C()", "@dataclass(order=True)\nclass C:")),
    ("a dataclass's method", OTHER, "from dataclasses import dataclass\n" + _class("a: int = 1\ndef m(self):\n    return 1", head="@dataclass\nclass C:"), "from dataclasses import dataclass\n" + _class("a: int = 1\ndef m(self):\n    return 2", head="@dataclass\nclass C:")),
    ("a dataclass's __post_init__", OTHER, "from dataclasses import dataclass\n" + _class("a: int = 1\ndef __post_init__(self):\n    self.a += 1", "C().a", "@dataclass\nclass C:"), "from dataclasses import dataclass\n" + _class("a: int = 1\ndef __post_init__(self):\n    self.a += 2", "C().a", "@dataclass\nclass C:")),
    ("a NamedTuple's default", OTHER, "from typing import NamedTuple\n" + _class("a: int = 1", "C().a", "class C(NamedTuple):"), "from typing import NamedTuple\n" + _class("a: int = 2", "C().a", "class C(NamedTuple):")),
    ("__call__", OTHER, _class("def __call__(self):\n    return 1", "C()()"), _class("def __call__(self):\n    return 2", "C()()")),
    ("__getattr__", OTHER, _class("def __getattr__(self, n):\n    return 1", "C().z"), _class("def __getattr__(self, n):\n    return 2", "C().z")),
    ("__init__", OTHER, _class("def __init__(self):\n    self.a = 1", "C().a"), _class("def __init__(self):\n    self.a = 2", "C().a")),
    ("__init_subclass__", OTHER, "class B:\n    def __init_subclass__(cls):\n        cls.a = 1\n" + _class("pass", "C.a", "class C(B):"), "class B:\n    def __init_subclass__(cls):\n        cls.a = 2\n" + _class("pass", "C.a", "class C(B):")),
    ("__slots__", OTHER, _class("__slots__ = ('a',)", "C()"), _class("__slots__ = ('b',)", "C()")),
    ("a descriptor", OTHER, "class D:\n    def __get__(self, o, t):\n        return 1\n" + _class("a = D()", "C.a"), "class D:\n    def __get__(self, o, t):\n        return 2\n" + _class("a = D()", "C.a")),
    ("an inner class", OTHER, _class("class I:\n    a = 1", "C.I.a"), _class("class I:\n    a = 2", "C.I.a")),
    ("a helper of a method", OTHER, "def g():\n    return 1\n" + _class("def m(self):\n    return g()"), "def g():\n    return 2\n" + _class("def m(self):\n    return g()")),
    ("a decorated method", OTHER, "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(self):\n        return g(self) + 1\n    return w\n" + _class("@d\ndef m(self):\n    return 1"), "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(self):\n        return g(self) + 2\n    return w\n" + _class("@d\ndef m(self):\n    return 1")),
    ("a partial method", OTHER, "import functools\n" + _class("def n(self, a):\n    return a\nm = functools.partialmethod(n, 1)"), "import functools\n" + _class("def n(self, a):\n    return a\nm = functools.partialmethod(n, 2)")),
    ("a class's own registry", SAME, _class("seen = {}\ndef m(self):\n    self.seen[1] = 2\n    return 1"), _class("seen = {5: 5}\ndef m(self):\n    self.seen[1] = 2\n    return 1")),
    ("a class's own counter", SAME, _class("n = 0\n@classmethod\ndef m(cls):\n    cls.n += 1"), _class("n = 5\n@classmethod\ndef m(cls):\n    cls.n += 1")),
    ("a class attribute that instances override", OTHER, _class("limit = 1\ndef set(self, v):\n    self.limit = v\ndef m(self):\n    return self.limit"), _class("limit = 2\ndef set(self, v):\n    self.limit = v\ndef m(self):\n    return self.limit")),
    ("a class attached method", OTHER, "def g(self):\n    return 1\n" + "class C: pass\nC.m = g\n@cache\ndef f(x):\n    return C().m()", "def g(self):\n    return 2\n" + "class C: pass\nC.m = g\n@cache\ndef f(x):\n    return C().m()"),
    ("a class from another file", OTHER, "from models import C\n@cache\ndef f(x):\n    return C().m()\n#: models.py\nclass C:\n    def m(self):\n        return 1", "from models import C\n@cache\ndef f(x):\n    return C().m()\n#: models.py\nclass C:\n    def m(self):\n        return 2"),
    ("a class moved to another file", SAME, _class("def m(self):\n    return 1"), "from models import C\n@cache\ndef f(x):\n    return C().m()\n#: models.py\nclass C:\n    def m(self):\n        return 1"),
    ("an exception's class", OTHER, _class("code = 1", "C.code", "class C(Exception):"), _class("code = 2", "C.code", "class C(Exception):")),
    ("a class that isinstance asks for", OTHER, "class B: pass\n" + _class("pass", "isinstance(x, C)", "class C(B):"), "class B: pass\n" + _class("pass", "isinstance(x, C)", "class C:")),
    ("the method of self's class", OTHER, "class C:\n    def n(self):\n        return 1\n    @cache\n    def f(self, x):\n        return self.n()\ndef key():\n    return C.f.cache.key(C(), 1)", "class C:\n    def n(self):\n        return 2\n    @cache\n    def f(self, x):\n        return self.n()\ndef key():\n    return C.f.cache.key(C(), 1)"),
    ("the field of self", OTHER, "class C:\n    a = 1\n    @cache\n    def f(self, x):\n        return self.a\ndef key():\n    c = C()\n    c.a = 2\n    return C.f.cache.key(c, 1)", "class C:\n    a = 1\n    @cache\n    def f(self, x):\n        return self.a\ndef key():\n    c = C()\n    c.a = 3\n    return C.f.cache.key(c, 1)"),
    ("the class of a class method", OTHER, "class C:\n    a = 1\n    @classmethod\n    @cache\n    def f(cls, x):\n        return cls.a\ndef key():\n    return C.f.cache.key(C, 1)", "class C:\n    a = 2\n    @classmethod\n    @cache\n    def f(cls, x):\n        return cls.a\ndef key():\n    return C.f.cache.key(C, 1)"),
    ("a typed field of a class used", SAME, "from dataclasses import dataclass\n" + _class("a: int = 1", "C().a", "@dataclass\nclass C:"), "from dataclasses import dataclass\n" + _class("a: float = 1", "C().a", "@dataclass\nclass C:")),
    ("a protocol", SAME, "from typing import Protocol\n" + _class("def m(self): ...", "x", "class C(Protocol):"), "from typing import Protocol\n" + _class("def m(self): ...", "x", "class C(Protocol):")),
    ("an abstract base", OTHER, "from abc import ABC, abstractmethod\nclass B(ABC):\n    @abstractmethod\n    def n(self): ...\n    def m(self):\n        return 1\n" + _class("def n(self):\n    return 1", head="class C(B):"), "from abc import ABC, abstractmethod\nclass B(ABC):\n    @abstractmethod\n    def n(self): ...\n    def m(self):\n        return 2\n" + _class("def n(self):\n    return 1", head="class C(B):")),
]  # fmt: skip

MORE = [
    ('singledispatchmethod', OTHER, 'import functools\nclass C:\n    @functools.singledispatchmethod\n    def m(self,x): return 1\n    @m.register(int)\n    def _(self,x): return 2\n@cache\ndef f(x):\n    return C().m(x)', 'import functools\nclass C:\n    @functools.singledispatchmethod\n    def m(self,x): return 1\n    @m.register(int)\n    def _(self,x): return 3\n@cache\ndef f(x):\n    return C().m(x)'),
    ('star import', OTHER, 'from helpers import *\n@cache\ndef f(x): return g(x)\n#: helpers.py\ndef g(x): return 1', 'from helpers import *\n@cache\ndef f(x): return g(x)\n#: helpers.py\ndef g(x): return 2'),
    ('global assigned by helper, read', SAME, 'n=None\ndef load():\n    global n\n    n=5\n@cache\ndef f(x):\n    load()\n    return n', 'n=3\ndef load():\n    global n\n    n=5\n@cache\ndef f(x):\n    load()\n    return n'),
    ('class decorator', OTHER, 'def d(c):\n    c.z=1\n    return c\n@d\nclass C: pass\n@cache\ndef f(x):\n    return C.z', 'def d(c):\n    c.z=2\n    return c\n@d\nclass C: pass\n@cache\ndef f(x):\n    return C.z'),
    ('operator.methodcaller', OTHER, "import operator\ng=operator.methodcaller('upper')\n@cache\ndef f(x):\n    return g(x)", "import operator\ng=operator.methodcaller('lower')\n@cache\ndef f(x):\n    return g(x)"),
    ('type alias in annotation only', SAME, 'A=int\n@cache\ndef f(x: A): return x', 'A=str\n@cache\ndef f(x: A): return x'),
    ('enum auto', OTHER, 'from enum import Enum, auto\nclass E(Enum):\n    A=auto()\n    B=auto()\n@cache\ndef f(x):\n    return E.A', 'from enum import Enum, auto\nclass E(Enum):\n    Z=auto()\n    A=auto()\n@cache\ndef f(x):\n    return E.A'),
    ('lambda loop closures', OTHER, 'fs=[lambda x,i=i: x+i for i in range(3)]\n@cache\ndef f(x): return fs[0](x)', 'fs=[lambda x,i=i: x+i for i in range(1,4)]\n@cache\ndef f(x): return fs[0](x)'),
    ('memo dict by get/set via local alias', OTHER, "T={'a':1}\n@cache\ndef f(x):\n    t=T\n    return t['a']", "T={'a':2}\n@cache\ndef f(x):\n    t=T\n    return t['a']"),
    ('partial global kw', OTHER, "import functools\ndef h(x,k): return k\ng=functools.partial(h,k={'a':1})\n@cache\ndef f(x):\n    return g(x)", "import functools\ndef h(x,k): return k\ng=functools.partial(h,k={'a':2})\n@cache\ndef f(x):\n    return g(x)"),
    ('wrapped by lru + user deco', OTHER, 'import functools\ndef h(x): return 1\n@functools.lru_cache(maxsize=3)\ndef g(x): return h(x)\n@cache\ndef f(x):\n    return g(x)', 'import functools\ndef h(x): return 2\n@functools.lru_cache(maxsize=3)\ndef g(x): return h(x)\n@cache\ndef f(x):\n    return g(x)'),
    ('asyncio helper', OTHER, 'async def g(x): return 1\n@cache\nasync def f(x): return await g(x)', 'async def g(x): return 2\n@cache\nasync def f(x): return await g(x)'),
    ('staticmethod cached', OTHER, 'class C:\n    @staticmethod\n    @cache\n    def f(x): return 1\ndef key(): return C.f.cache.key(1)', 'class C:\n    @staticmethod\n    @cache\n    def f(x): return 2\ndef key(): return C.f.cache.key(1)'),
    ('two inner defs same name', OTHER, '@cache\ndef f(x):\n    if x:\n        def g(): return 1\n    else:\n        def g(): return 2\n    return g()', '@cache\ndef f(x):\n    if x:\n        def g(): return 1\n    else:\n        def g(): return 3\n    return g()'),
    ('same-named class two modules arg', OTHER, 'import a_mod\n@cache\ndef f(x): return x\ndef key(): return f.cache.key(a_mod.C())\n#: a_mod.py\nclass C: pass\n#: b_mod.py\nclass C: pass', 'import b_mod as a_mod\n@cache\ndef f(x): return x\ndef key(): return f.cache.key(a_mod.C())\n#: a_mod.py\nclass C: pass\n#: b_mod.py\nclass C: pass'),
    ("cached function in other module's F", OTHER, "from helpers import g\n@cache\ndef f(x): return g(x)\n#: helpers.py\nfrom perscache import Cache\n@Cache(storage='memory://')\ndef g(x): return 1", "from helpers import g\n@cache\ndef f(x): return g(x)\n#: helpers.py\nfrom perscache import Cache\n@Cache(storage='memory://')\ndef g(x): return 2"),
    ('cached arg callback', OTHER, '@cache\ndef g(x): return 1\n@cache\ndef f(x): return x\ndef key(): return f.cache.key(g)', '@cache\ndef g(x): return 2\n@cache\ndef f(x): return x\ndef key(): return f.cache.key(g)'),
    ('instance method mutator on user object', SAME, 'class S:\n    def __init__(self): self.n=0\n    def tick(self): self.n+=1\ns=S()\n@cache\ndef f(x):\n    return s.tick()', 'class S:\n    def __init__(self): self.n=0\n    def tick(self): self.n+=1\ns=S()\ns.tick()\n@cache\ndef f(x):\n    return s.tick()'),
    ('tenacity-like class deco', OTHER, 'class D:\n    def __init__(self,g): self.g=g\n    def __call__(self,x): return self.g(x)\n@D\ndef g(x): return 1\n@cache\ndef f(x):\n    return g(x)', 'class D:\n    def __init__(self,g): self.g=g\n    def __call__(self,x): return self.g(x)\n@D\ndef g(x): return 2\n@cache\ndef f(x):\n    return g(x)'),
    ('global in nested class body', OTHER, 'B=1\n@cache\ndef f(x):\n    class C:\n        a=B\n    return C.a', 'B=2\n@cache\ndef f(x):\n    class C:\n        a=B\n    return C.a'),
    ('__getattr__ on instance default', OTHER, "class C:\n    def __init__(self): self.d={'a':1}\n    def __getattr__(self,n): return self.d[n]\nc=C()\n@cache\ndef f(x):\n    return c.a", "class C:\n    def __init__(self): self.d={'a':2}\n    def __getattr__(self,n): return self.d[n]\nc=C()\n@cache\ndef f(x):\n    return c.a"),
    ('module passed to helper', OTHER, 'import helpers\ndef h(m): return m.LIMIT\n@cache\ndef f(x): return h(helpers)\n#: helpers.py\nLIMIT=1', 'import helpers\ndef h(m): return m.LIMIT\n@cache\ndef f(x): return h(helpers)\n#: helpers.py\nLIMIT=2'),
    ('dict of modules', OTHER, "import helpers\nM={'a':helpers}\n@cache\ndef f(x): return M['a'].g(x)\n#: helpers.py\ndef g(x): return 1", "import helpers\nM={'a':helpers}\n@cache\ndef f(x): return M['a'].g(x)\n#: helpers.py\ndef g(x): return 2"),
    ('method via instance global of helper class in other file', OTHER, 'from helpers import obj\n@cache\ndef f(x): return obj.m()\n#: helpers.py\nclass C:\n    def m(self): return 1\nobj=C()', 'from helpers import obj\n@cache\ndef f(x): return obj.m()\n#: helpers.py\nclass C:\n    def m(self): return 2\nobj=C()'),
    ("a compiled struct", OTHER, "import struct\ns = struct.Struct('<I')\n@cache\ndef f(x):\n    return s.unpack(x)", "import struct\ns = struct.Struct('>I')\n@cache\ndef f(x):\n    return s.unpack(x)"),
    ("a global by globals()", OTHER, "P = 1\n@cache\ndef f(x):\n    return globals()['P']", "P = 2\n@cache\ndef f(x):\n    return globals()['P']"),
    ("another global beside globals()", SAME, "P, Q = 1, 1\n@cache\ndef f(x):\n    return globals()['P']", "P, Q = 1, 2\n@cache\ndef f(x):\n    return globals()['P']"),
    ("a module by import_module", OTHER, "import importlib\n@cache\ndef f(x):\n    return importlib.import_module('helpers').A\n#: helpers.py\nA = 1", "import importlib\n@cache\ndef f(x):\n    return importlib.import_module('helpers').A\n#: helpers.py\nA = 2"),
    ("its neighbour by import_module", SAME, "import importlib\n@cache\ndef f(x):\n    return importlib.import_module('helpers').A\n#: helpers.py\nA, B = 1, 1", "import importlib\n@cache\ndef f(x):\n    return importlib.import_module('helpers').A\n#: helpers.py\nA, B = 1, 2"),
    ("a function by a relative import_module", OTHER, "from pack.mod import h\n@cache\ndef f(x):\n    return h(x)\n#: pack/__init__.py\n#: pack/mod.py\nfrom importlib import import_module\ndef h(x):\n    return import_module('.low', __package__).g(x)\n#: pack/low.py\ndef g(x):\n    return 1", "from pack.mod import h\n@cache\ndef f(x):\n    return h(x)\n#: pack/__init__.py\n#: pack/mod.py\nfrom importlib import import_module\ndef h(x):\n    return import_module('.low', __package__).g(x)\n#: pack/low.py\ndef g(x):\n    return 2"),
    ("a module by __import__", OTHER, "@cache\ndef f(x):\n    return __import__('helpers').g(x)\n#: helpers.py\ndef g(x):\n    return 1", "@cache\ndef f(x):\n    return __import__('helpers').g(x)\n#: helpers.py\ndef g(x):\n    return 2"),
    ('constant folding', SAME, '\n@cache\ndef f(x):\n    return 1', '\n@cache\ndef f(x):\n    return 1  # c'),
]  # fmt: skip

LIBRARIES = [
    ('attrs', 'attrs default', OTHER, 'import attrs\n@attrs.define\nclass C:\n    a: int = 1\n@cache\ndef f(x):\n    return C().a', 'import attrs\n@attrs.define\nclass C:\n    a: int = 2\n@cache\ndef f(x):\n    return C().a'),
    ('attrs', 'attrs validator', OTHER, 'import attrs\ndef v(i,a,x): return 1\n@attrs.define\nclass C:\n    a: int = attrs.field(default=1,validator=v)\n@cache\ndef f(x):\n    return C().a', 'import attrs\ndef v(i,a,x): return 2\n@attrs.define\nclass C:\n    a: int = attrs.field(default=1,validator=v)\n@cache\ndef f(x):\n    return C().a'),
    ('attrs', 'attrs same', SAME, 'import attrs\n@attrs.define\nclass C:\n    a: int = 1\n    def m(self): return 1\n@cache\ndef f(x):\n    return C().a', "import attrs\n\n@attrs.define\nclass C:\n    'doc'\n    a: int = 1\n    def m(self):\n        return 1\n@cache\ndef f(x):\n    return C().a"),
    ('attrs', 'attrs method', OTHER, 'import attrs\n@attrs.define\nclass C:\n    a: int = 1\n    def m(self): return 1\n@cache\ndef f(x):\n    return C().a', 'import attrs\n@attrs.define\nclass C:\n    a: int = 1\n    def m(self): return 2\n@cache\ndef f(x):\n    return C().a'),
    ('pydantic', 'pydantic annotation', OTHER, 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n@cache\ndef f(x):\n    return C().a', 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: float = 1\n@cache\ndef f(x):\n    return C().a'),
    ('pydantic', 'pydantic default', OTHER, 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n@cache\ndef f(x):\n    return C().a', 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 2\n@cache\ndef f(x):\n    return C().a'),
    ('pydantic', 'pydantic constraint', OTHER, 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = Field(1,gt=0)\n@cache\ndef f(x):\n    return C().a', 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = Field(1,gt=-1)\n@cache\ndef f(x):\n    return C().a'),
    ('pydantic', 'pydantic validator', OTHER, "from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n    @field_validator('a')\n    @classmethod\n    def v(cls,x): return x\n@cache\ndef f(x):\n    return C().a", "from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n    @field_validator('a')\n    @classmethod\n    def v(cls,x): return -x\n@cache\ndef f(x):\n    return C().a"),
    ('pydantic', 'pydantic validator mode', OTHER, "from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n    @field_validator('a',mode='before')\n    @classmethod\n    def v(cls,x): return x\n@cache\ndef f(x):\n    return C().a", "from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n    @field_validator('a',mode='after')\n    @classmethod\n    def v(cls,x): return x\n@cache\ndef f(x):\n    return C().a"),
    ('pydantic', 'pydantic config', OTHER, "from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    model_config={'frozen':True}\n    a: int = 1\n@cache\ndef f(x):\n    return C().a", "from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    model_config={'frozen':False}\n    a: int = 1\n@cache\ndef f(x):\n    return C().a"),
    ('pydantic', 'pydantic method', OTHER, 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n    def m(self): return 1\n@cache\ndef f(x):\n    return C().m()', 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n    def m(self): return 2\n@cache\ndef f(x):\n    return C().m()'),
    ('pydantic', 'pydantic doc', SAME, 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n    def m(self): return 1\n@cache\ndef f(x):\n    return C().m()', 'from pydantic import BaseModel, field_validator, validate_call, Field\nclass C(BaseModel):\n    a: int = 1\n    def m(self): return 1 # c\n@cache\ndef f(x):\n    return C().m()'),
    ('pydantic', 'validate_call annotation', OTHER, 'from pydantic import BaseModel, field_validator, validate_call, Field\n@validate_call\ndef g(x: int): return x\n@cache\ndef f(x):\n    return g(x)', 'from pydantic import BaseModel, field_validator, validate_call, Field\n@validate_call\ndef g(x: str): return x\n@cache\ndef f(x):\n    return g(x)'),
    ('pydantic', 'validate_call body', OTHER, 'from pydantic import BaseModel, field_validator, validate_call, Field\n@validate_call\ndef g(x: int): return x\n@cache\ndef f(x):\n    return g(x)', 'from pydantic import BaseModel, field_validator, validate_call, Field\n@validate_call\ndef g(x: int): return -x\n@cache\ndef f(x):\n    return g(x)'),
    ('numpy', 'np.vectorize', OTHER, 'import numpy as np\ng=np.vectorize(lambda x: x)\n@cache\ndef f(x):\n    return g(x)', 'import numpy as np\ng=np.vectorize(lambda x: -x)\n@cache\ndef f(x):\n    return g(x)'),
    ('numpy', 'np global array', OTHER, 'import numpy as np\nA=np.arange(3)\n@cache\ndef f(x):\n    return A[x]', 'import numpy as np\nA=np.arange(4)\n@cache\ndef f(x):\n    return A[x]'),
    ('numpy', 'library alias swap', OTHER, 'import numpy as np\n@cache\ndef f(x):\n    return np.sum', 'import math as np\n@cache\ndef f(x):\n    return np.sum'),
    ('numpy', 'numpy random state global', OTHER, 'import numpy as np\nr=np.random.default_rng(1)\n@cache\ndef f(x):\n    return r', 'import numpy as np\nr=np.random.default_rng(2)\n@cache\ndef f(x):\n    return r'),
]  # fmt: skip

CASES = [
    pytest.param(verdict, before, after, id=f"{group}: {title}")
    for group, cases in (
        ("own code", OWN_CODE),
        ("helpers", HELPERS),
        ("globals", GLOBALS),
        ("classes", CLASSES),
        ("more", MORE),
    )
    for title, verdict, before, after in cases
]


@pytest.mark.filterwarnings("ignore::perscache.PerscacheWarning")
@pytest.mark.parametrize(("verdict", "before", "after"), CASES)
def test_a_key_changes_with_what_runs_and_with_nothing_else(
    verdict: str, before: str, after: str, tmp_path: Path
) -> None:
    first, second, again = (_key(text, tmp_path / name) for text, name in ((before, "a"), (after, "b"), (before, "c")))
    assert first == again, "the same program gave two keys"
    assert (first == second) == (verdict == SAME)


@pytest.mark.parametrize(
    ("needed", "verdict", "before", "after"),
    [pytest.param(needed, *case, id=f"{needed}: {title}") for needed, title, *case in LIBRARIES],
)
def test_a_key_follows_code_that_libraries_wrap(
    needed: str, verdict: str, before: str, after: str, tmp_path: Path
) -> None:
    pytest.importorskip(needed)
    first, second, again = (_key(text, tmp_path / name) for text, name in ((before, "a"), (after, "b"), (before, "c")))
    assert first == again, "the same program gave two keys"
    assert (first == second) == (verdict == SAME)
