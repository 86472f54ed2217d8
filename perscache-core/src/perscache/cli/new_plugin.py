"""``perscache new-plugin``: a package of somebody's own that is installed, found and tested as it stands."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path
from string import Template
from typing import Final

from ..errors import ConfigurationError
from ..plugins import discovery, registry
from ..plugins.known import KNOWN, Kind
from .display import say
from .plugins import CORE

KINDS: Final = {kind.value[:-1]: kind for kind in Kind}
"""What the command line calls the kinds."""

_DESCRIPTIONS: Final = {
    Kind.SERIALIZER: "Cached results as $name: a serializer for perscache.",
    Kind.STORAGE: "Cached results under $name://: a storage for perscache.",
    Kind.FINGERPRINT: "Arguments of $name's types in keys: fingerprints for perscache.",
    Kind.OBSERVER: "What becomes of cached calls: the observer $name for perscache.",
}

# Where each template goes; those in a kind's folder are its own. They hold $name and the like, see string.Template.
_FILES: Final = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "CHANGELOG.md.txt": "CHANGELOG.md",
    "{kind}/module.py.txt": "src/$module/__init__.py",
    "{kind}/tests.py.txt": "tests/test_$module.py",
}


def new_plugin(options: argparse.Namespace) -> int:
    """Write a package with a serializer, storage, fingerprints or an observer, tests included, to begin from."""
    kind = KINDS[options.kind]
    name = _checked(options.name, kind)
    distribution = f"perscache-{discovery.canonical(name)}"
    folder = Path(options.folder or distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is there, and is not overwritten: name another with --folder")
    for file, text in _package(kind, name, distribution).items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        say(f"wrote {path}")
    say(f"Now: cd {shlex.quote(str(folder))}; pip install --editable '.[test]'; pytest")
    return 0


def _package(kind: Kind, name: str, distribution: str) -> dict[str, str]:
    """The files of the package, by their paths."""
    from importlib import resources

    words = {
        "name": name,
        "Class": "".join(part[:1].upper() + part[1:] for part in re.split("[-_]", name)),
        "extension": name.replace("-", ""),
        "distribution": distribution,
        "module": distribution.replace("-", "_"),
        "group": kind.group,
    }
    words["description"] = Template(_DESCRIPTIONS[kind]).substitute(words)
    templates = resources.files("perscache.cli") / "templates"

    def filled(template: str) -> str:
        text = (templates / template.format(kind=kind.value[:-1])).read_text("utf-8")
        return Template(text).substitute(words)

    words["usage"] = filled("{kind}/usage.md.txt").rstrip("\n")
    files = {Template(path).substitute(words): filled(template) for template, path in _FILES.items()}
    return {**files, f"src/{words['module']}/py.typed": ""}


# --- Names.

_WORD: Final = "small letters and digits, perhaps with hyphens between"
_NAMES: Final = {
    Kind.SERIALIZER: ("[a-z][a-z0-9]*(-[a-z0-9]+)*", f"it is what users write, such as json: {_WORD}"),
    Kind.STORAGE: ("[a-z][a-z0-9]+(-[a-z0-9]+)*", f"it is the scheme of URLs, such as gs: two or more {_WORD}"),
    Kind.FINGERPRINT: ("[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", "it is the types' top-level module, such as shapely"),
    Kind.OBSERVER: ("[a-z][a-z0-9]*(-[a-z0-9]+)*", f"it is what users write, such as metrics: {_WORD}"),
}
"""By kind, what a name must look like, and how that is said."""


def _checked(name: str, kind: Kind) -> str:
    """``name``, if a plugin of that kind can have it; raises ConfigurationError with a better one."""
    if not re.fullmatch(_NAMES[kind][0], name) or re.match("perscache[-_]", name):
        raise ConfigurationError(f"{name!r} cannot be the name of a {kind.value[:-1]}: {_better(name, kind)}")
    if kind is Kind.FINGERPRINT and name in sys.stdlib_module_names:
        raise ConfigurationError(
            f"{name} is of the standard library, whose types perscache keys itself: give hashers={{type: function}} to "
            "the decorator, or the class a __cache_key__ method"
        )
    taken = _taken(name, kind)
    if taken:
        raise ConfigurationError(f"{taken}: choose another name, such as 'my-{name}'")
    return name


def _better(name: str, kind: Kind) -> str:
    """A name that is near and would do, or what names are like."""
    fold, between = (str, "_") if kind is Kind.FINGERPRINT else (str.lower, "-")
    bare = re.sub("^perscache[-_]", "", name, flags=re.IGNORECASE)
    proposal = re.sub("[^A-Za-z0-9]+", between, fold(bare)).strip(between)
    if re.fullmatch(_NAMES[kind][0], proposal):
        return f"did you mean {proposal!r}?"
    return _NAMES[kind][1]


def _taken(name: str, kind: Kind) -> str | None:
    """Who has the name already."""
    called = kind.called(name)
    if name in registry.built_in(kind):
        return f"{called} is built in"
    ours = {distribution for names in KNOWN.values() for distribution in names.values()} | {CORE}
    distribution = KNOWN[kind].get(name) or f"perscache-{discovery.canonical(name)}"
    if distribution in ours:
        return f"{distribution} is a distribution of perscache" + (
            "" if name not in KNOWN[kind] else f", and gives {called}"
        )
    claims = discovery.scan().claims.get((kind, name), ())
    return f"{claims[0].label} gives {called}" if claims else None
