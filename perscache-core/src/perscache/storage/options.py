"""The options of a storage as a URL gives them: ``?max_size=20GB&shared=true``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from ..errors import ConfigurationError

_TRUTH = {
    "true": True,
    "yes": True,
    "1": True,
    "on": True,
    "": True,
    "false": False,
    "no": False,
    "0": False,
    "off": False,
}

# Up to the last "@": who forgets to encode one in a password is spared, too.
_SECRETS: Final = re.compile(r"(?<=://)\S*(?=@)|(?<=[?&]password=)[^&\s]*")


def split_url(url: str) -> tuple[str, dict[str, Any]]:
    """What stands between ``://`` and ``?``, unquoted, and the options behind."""
    from urllib.parse import parse_qsl, unquote

    rest = url.partition("://")[2]
    place, _, query = rest.partition("?")
    return unquote(place), dict(parse_qsl(query, keep_blank_values=True))


def masked(setting: Any) -> Any:
    """A setting, or a list of some, as it may be shown: no user and no password is left in a URL."""
    if isinstance(setting, list | tuple):
        return [masked(one) for one in setting]
    return _SECRETS.sub("***", setting) if isinstance(setting, str) else setting


def check(owner: str, options: dict[str, Any], known: Iterable[str]) -> None:
    """ConfigurationError for an option that ``owner`` does not have."""
    names = sorted(known)
    for name in options:
        if name not in names:
            from difflib import get_close_matches

            close = get_close_matches(name, names, 1, 0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
            raise ConfigurationError(f"{owner} has no option {name!r}: {hint}")


def truth(name: str, value: Any) -> bool:
    """A switch, also as text. ConfigurationError for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUTH:
        return _TRUTH[value.lower()]
    raise ConfigurationError(f"{name}={value!r} is neither true nor false")


def whole(name: str, value: Any) -> int | None:
    """A number that is not negative, also as text, or None. ConfigurationError for anything else."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ConfigurationError(f"{name}={value!r} is no whole number")
