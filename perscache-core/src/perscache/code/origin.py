"""Whose code it is: the user's own, a library's of some version, or Python's; and the names of modules that stay."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

USER, LIBRARY, STANDARD = "user", "library", "standard"

_SITES = ("site-packages", "dist-packages")
_STANDARD_FOLDER = os.path.realpath(os.path.dirname(os.__file__)) + os.sep  # noqa: PTH120 - pathlib is 4 times as slow
_OWN = "perscache"


@lru_cache(maxsize=4096)
def of_file(path: str) -> str:
    """Whose a file is. Code without a file (a console, exec) is the user's."""
    if path.startswith("<frozen "):
        return STANDARD
    if path.startswith("<"):
        return USER
    folders = path.replace("\\", "/").split("/")
    if any(site in folders for site in _SITES):
        return LIBRARY
    return STANDARD if os.path.realpath(path).startswith(_STANDARD_FOLDER) else USER


def of_module(name: str | None) -> str:
    """Whose an imported module is, by its file; by its name where it has none."""
    top = (name or "").partition(".")[0]
    if top == _OWN or top.startswith(f"{_OWN}_"):
        return STANDARD  # how we work is SCHEMA's matter: an update of ours must not cost anyone's results
    if top in {"__main__", "__mp_main__"}:
        return USER  # whatever was started: a console, a worker, a tool that runs the user's file
    if top in sys.stdlib_module_names:
        return STANDARD
    module = sys.modules.get(name or "")
    if module is None:
        return USER
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", None) or ()), None)
    if file is None:
        return STANDARD if module.__name__ in sys.builtin_module_names else USER
    return of_file(file)


def of_code(code: CodeType, namespace: dict[str, Any]) -> str:
    """Whose a function's code is. Generated code belongs to the module in which it was made."""
    if code.co_filename.startswith("<") and not code.co_filename.startswith("<frozen "):
        return of_module(namespace.get("__name__")) if "__name__" in namespace else USER
    found = of_file(code.co_filename)
    if found is USER:
        top = str(namespace.get("__name__", "")).partition(".")[0]
        if top == _OWN or (top.startswith(f"{_OWN}_") and "tests" not in code.co_filename):
            return STANDARD
    return found


@lru_cache(maxsize=4096)
def release(name: str) -> str:
    """The distribution and version that a library's module comes from, ``numpy 2.1.0``; its name where nothing says."""
    parts = name.split(".")
    while parts:
        module = sys.modules.get(".".join(parts))
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", None) or ()), None)
        if file:
            return _release_of(file) or parts[0]
        parts.pop()
    return name.partition(".")[0]


def release_of_spec(top: str) -> str:
    """The same for a library that has not been imported."""
    import importlib.util

    spec = importlib.util.find_spec(top)
    return (spec and spec.origin and _release_of(spec.origin)) or top


def _release_of(file: str) -> str | None:
    folders = Path(file).parts
    site = max((index for index, folder in enumerate(folders) if folder in _SITES), default=-1)
    if site < 0:
        return None
    below = list(folders[site + 1 :])
    below[-1] = below[-1].partition(".")[0]
    records = _records(str(Path(*folders[: site + 1])))
    for length in range(len(below), 0, -1):
        if found := records.get(_plain("-".join(below[:length]))):
            return " ".join(found)
    return _search(Path(*folders[: site + 1]), "/".join(folders[site + 1 :]))


@lru_cache(maxsize=16)
def _records(site: str) -> dict[str, tuple[str, str]]:
    """Name and version of what is installed in a folder, by plain name. One listing: no metadata file is opened."""
    found: dict[str, tuple[str, str]] = {}
    for entry in sorted(os.listdir(site)):  # noqa: PTH208
        stem, dot, ending = entry.rpartition(".")
        if dot and ending in {"dist-info", "egg-info"}:
            name, _, version = stem.partition("-")
            found[_plain(name)] = (_plain(name), version.partition("-py")[0])
    return found


def _search(site: Path, file: str) -> str | None:
    """For a module that is called other than its distribution: the one whose list of files names it."""
    for record in sorted(site.glob("*.dist-info/RECORD")):
        if f"\n{file}," in "\n" + record.read_text("utf-8", "replace"):
            name, _, version = record.parent.name.removesuffix(".dist-info").partition("-")
            return f"{_plain(name)} {version}"
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def distribution_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    from .. import _metadata as metadata  # heavy, and only for depends="package"

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# --- Names that stay the same between a script, ``-m`` and an import.


def module_name(name: str | None, file: str) -> str:
    """The name of a module of the user's, however it was started. ``file`` is where the code in question was read."""
    if name not in {"__main__", "__mp_main__"}:
        return name or "__main__"
    main = sys.modules.get(name)
    spec, started = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and (started is None or _same(started, file)):
        return str(spec.name)
    return _dotted(file) if file.endswith(".py") and os.path.isfile(file) else "__main__"  # noqa: PTH113


def public(name: str) -> str:
    """The name of a module of Python's own, without private places, ``pathlib._local``: versions differ there."""
    top, *below = name.split(".")
    return ".".join([top, *[part for part in below if top not in sys.stdlib_module_names or not part.startswith("_")]])


def _same(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100


@lru_cache(maxsize=256)
def _dotted(file: str) -> str:
    """The name under which a file would be imported: its own, below the packages that it lies in."""
    path = Path(os.path.abspath(file))  # noqa: PTH100 - links are not followed, as import does not
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names)


def project_folder(namespace: dict[str, Any]) -> str | None:
    """The folder above a user's module and the packages that it lies in."""
    file = namespace.get("__file__")
    if not isinstance(file, str):
        return None
    return str(Path(os.path.abspath(file)).parents[_dotted(file).count(".")])  # noqa: PTH100
