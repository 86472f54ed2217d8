"""Settings from outside the code: the environment, then ``perscache.toml`` or ``[tool.perscache]``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .errors import ConfigurationError

ENVIRONMENT: Final = {
    "serializer": "PERSCACHE_SERIALIZER",
    "storage": "PERSCACHE_STORAGE",
    "ttl": "PERSCACHE_TTL",
    "max_size": "PERSCACHE_MAX_SIZE",
}
"""The settings that the environment can give; `MODE` and `SIGNING_KEY` are read apart."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "serializer": "cloudpickle",
    "storage": ".cache",
    "ttl": None,
    "track": "deps",
    "version": None,
    "max_size": None,
    "lock": True,
    "on_error": "warn",
    "mode": "normal",
    "observers": (),
}
"""What holds where nobody says otherwise."""

MODE: Final = "PERSCACHE_MODE"
SIGNING_KEY: Final = "PERSCACHE_SIGNING_KEY"

# Each setting that a file can give, with the types that it may have there.
_IN_FILES: Final[Mapping[str, tuple[type, ...]]] = {
    "serializer": (str,),
    "storage": (str, list),
    "ttl": (str, int, float),
    "track": (str,),
    "version": (str, int),
    "max_size": (str, int),
    "lock": (bool,),
    "on_error": (str,),
    "mode": (str,),
    "observers": (list,),
}


def outside() -> dict[str, tuple[Any, str]]:
    """Each setting given outside the code, with where it was found: ``{"ttl": ("1d", "PERSCACHE_TTL")}``.

    Raises ConfigurationError for a file that cannot be read and for a key that is no setting.
    """
    return {**_from_file(), **of_environment()}


def of_environment() -> dict[str, tuple[Any, str]]:
    """Those of `outside` that the environment gives."""
    found: dict[str, tuple[Any, str]] = {
        name: (os.environ[variable], variable) for name, variable in ENVIRONMENT.items() if os.environ.get(variable)
    }
    if "storage" in found and found["storage"][0].startswith("["):
        found["storage"] = _listed(*found["storage"])
    return found


def _listed(text: str, variable: str) -> tuple[list[str], str]:
    """The tiers in ``text``, a list as JSON."""
    import json

    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ConfigurationError(
            f'{variable}={text!r} is no list of paths and URLs: write it as JSON, such as ["memory://", ".cache"]'
        )
    return listed, variable


def _from_file() -> dict[str, tuple[Any, str]]:
    found = nearest_file(Path.cwd())
    if found is None:
        return {}
    table = _table(found)
    for key, value in table.items():
        _check(found, key, value)
    settings = {key: (value, str(found)) for key, value in table.items()}
    if isinstance(storage := table.get("storage"), list):
        settings["storage"] = ([_anchored(found, tier) for tier in storage], str(found))
    elif storage is not None:
        settings["storage"] = (_anchored(found, storage), str(found))
    return settings


def _anchored(found: Path, storage: str) -> str:
    """A path in a file means the same whatever folder the program is started in."""
    return storage if "://" in storage else str(found.parent / Path(storage).expanduser())


def nearest_file(folder: Path) -> Path | None:
    """The file that settings are taken from for a program in ``folder``, whether or not it has any."""
    for place in (folder, *folder.parents):
        for name in ("perscache.toml", "pyproject.toml"):
            if (place / name).is_file():
                return place / name
    return None


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        if path.name == "pyproject.toml" and "perscache" not in text:
            return {}  # Spares most projects the parser.
        import tomllib

        document = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Mend it, or move it out of the way") from error
    if path.name == "perscache.toml":
        return document
    table = document.get("tool", {}).get("perscache", {})
    if not isinstance(table, dict):
        raise ConfigurationError(
            f"{path}: tool.perscache is no table: write [tool.perscache] and the settings below it"
        )
    return table


def _check(path: Path, key: str, value: Any) -> None:
    if key not in _IN_FILES:
        if key == "signing_key":
            raise ConfigurationError(f"{path}: a signing key does not belong in a file: set {SIGNING_KEY}")
        import difflib

        near = difflib.get_close_matches(key, _IN_FILES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(_IN_FILES)}"
        raise ConfigurationError(f"{path}: unknown setting {key!r}: {hint}")
    listed = key == "storage" and isinstance(value, list)
    if listed and not all(isinstance(tier, str) for tier in value):
        raise ConfigurationError(f"{path}: {key} = {value!r}: the tiers in it are to be paths and URLs")
    if not isinstance(value, _IN_FILES[key]) or (isinstance(value, bool) and bool not in _IN_FILES[key]):
        expected = " or ".join(kind.__name__ for kind in _IN_FILES[key])
        raise ConfigurationError(f"{path}: {key} = {value!r}: it takes {expected}")
