"""The settings in force, whatever caches and decorators say in code: each with its value, and where that is from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from ... import config
from ...errors import ConfigurationError, PerscacheError
from ...events import Observers
from ...modes import Mode
from ...plugins import discovery, registry
from ...storage.options import masked
from ...trouble import OnError
from ...units import seconds, size_in_bytes
from ..plugins import CORE
from .diagnosis import Diagnosis

_VARIABLES: Final = (*config.ENVIRONMENT.values(), config.MODE, config.SIGNING_KEY, discovery.DISABLE)


def examine(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Each setting's name, value, and source: a variable, a file, or the default. No key and no password is shown."""
    diagnosis.wrong(*_misspelt())
    diagnosis.remarks += _passed_over(Path.cwd())
    found: dict[str, tuple[Any, str]] = {name: (value, "default") for name, value in config.DEFAULTS.items()}
    readable = True
    try:
        found |= config.outside()
    except ConfigurationError as error:
        readable = False
        diagnosis.wrong(str(error))
        found |= config.of_environment()
    if mode := os.environ.get(config.MODE):
        found["mode"] = mode, config.MODE
    key = os.environ.get(config.SIGNING_KEY)
    found["signing_key"] = ("set", config.SIGNING_KEY) if key else (None, "default")
    if disabled := os.environ.get(discovery.DISABLE):
        found["disabled plugins"] = disabled, discovery.DISABLE
    before = len(diagnosis.problems)
    for name, (value, source) in found.items():
        _judge(name, value, source, diagnosis)
    if readable and len(diagnosis.problems) == before:
        _judge_together(diagnosis)
    return [{"name": name, "value": masked(value), "source": source} for name, (value, source) in found.items()]


_MEANINGS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "serializer": registry.serializer,
    "ttl": seconds,
    "max_size": size_in_bytes,
    "mode": Mode.named,
    "on_error": OnError.named,
    "observers": Observers,
}


def _judge(name: str, value: Any, source: str, diagnosis: Diagnosis) -> None:
    try:
        if value is not None and name in _MEANINGS:
            _MEANINGS[name](value)
    except PerscacheError as error:
        diagnosis.wrong(f"{name} = {value!r} ({source}): {error}")
    else:
        if name == "mode" and value != "normal":
            diagnosis.remarks.append(f"{source} puts caches in the mode {value!r}: take that out to have them as ever")


def _judge_together(diagnosis: Diagnosis) -> None:
    """Make a cache of them, for what only that shows."""
    try:
        from ...cache import Cache

        Cache(storage="memory://")(lambda: None)
    except PerscacheError as error:
        diagnosis.wrong(f"A cache cannot be made of these settings: {error}")
    except Exception as error:  # noqa: BLE001  # Where another distribution has put its files, anything may happen.
        diagnosis.wrong(
            f"A cache cannot be made ({type(error).__name__}: {error}): pip install --force-reinstall --no-deps {CORE}"
        )


def _misspelt() -> Iterator[str]:
    for variable in sorted(os.environ):
        if variable.startswith("PERSCACHE_") and variable not in _VARIABLES:
            near = get_close_matches(variable, _VARIABLES, 1, 0.85)
            if near:
                yield f"{variable} is no variable of perscache, and does nothing: did you mean {near[0]}?"


def _passed_over(folder: Path) -> Iterator[str]:
    """Files with settings that are not read, because another is nearer."""
    nearest = config.nearest_file(folder)
    for place in (folder, *folder.parents):
        for name, mark in (("perscache.toml", ""), ("pyproject.toml", "[tool.perscache]")):
            file = place / name
            with suppress(OSError):
                if file != nearest and mark in file.read_text("utf-8", "replace"):
                    yield f"{file} is not read, because {nearest} is nearer: move its settings there"
