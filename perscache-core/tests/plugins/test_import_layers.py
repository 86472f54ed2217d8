"""Each module of the core imports only from those below it, so that it can be read and tested without those above."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import perscache

ROOT = Path(perscache.__file__).parent

# From the ground up; a module imports from its own row and those before it. "fingerprint.*" is all within.
ROWS = [
    "errors units counts buffers driver entry annotations parsing _metadata",
    "trouble modes signature config",
    "serializers.base storage.base",
    "plugins.specs plugins.known plugins.discovery plugins.contract plugins.registry events plugins",
    "serializers.* storage.*",
    "fingerprint fingerprint.* code code.* binding summary key",
    "single_flight",
    (
        "acceptance explanation statistics plan steps protocol calls iterations errand batch progress delivery handle "
        "isolation cached typing cache"
    ),
    # The faces, which the core itself does not use.
    "perscache serializers storage cli cli.* __main__ report pytest_plugin testing testing.*",
]


def row(module: str) -> int:
    exact = [number for number, names in enumerate(ROWS) if module in names.split()]
    within = [number for number, names in enumerate(ROWS) if f"{module.partition('.')[0]}.*" in names.split()]
    found = exact or (within if "." in module else [])
    assert found, f"{module} stands in no row: say where it belongs"
    return found[0]


def modules() -> list[str]:
    found = [path.relative_to(ROOT).with_suffix("") for path in sorted(ROOT.rglob("*.py"))]
    return [".".join(path.parts).removesuffix("__init__").removesuffix(".") or "perscache" for path in found]


def imported(module: str) -> Iterator[str]:
    """The modules of perscache that ``module`` imports when it runs, inside functions too."""
    path = ROOT if module == "perscache" else ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    package = path.relative_to(ROOT).parts if path.is_dir() else path.relative_to(ROOT).parts[:-1]
    for node in running(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else [])]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "perscache":
            base = (node.module or "").split(".")[1:]
        else:
            continue
        for name in node.names:
            inner = ".".join([*base, name.name])
            yield inner if inner in modules() else ".".join(base) or "perscache"


def running(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield from running(node)


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_its_own_row_and_those_below(module: str):
    above = {name for name in imported(module) if row(name) > row(module)}
    assert not above


def test_the_check_sees_imports_of_every_form():
    assert {"errors", "serializers.base", "plugins.specs", "plugins.discovery", "trouble"} <= {
        name for module in ("plugins.contract", "plugins.registry") for name in imported(module)
    }
    # What only type checkers see is no import.
    assert "fingerprint" not in imported("plugins.specs")
