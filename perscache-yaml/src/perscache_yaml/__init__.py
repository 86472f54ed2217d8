"""Cached results as YAML: the serializer ``yaml`` of perscache."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Any

from perscache.errors import SerializationError
from perscache.plugins import Serializer, hookimpl
from perscache.serializers.places import SCALARS, Part, odd_parts, type_name

if TYPE_CHECKING:
    import yaml

__version__ = "1.0.0"

PERSCACHE_API = 1


@hookimpl
def perscache_serializers() -> Iterable[type[Serializer]]:
    """The serializer of this distribution."""
    return [YAMLSerializer]


class YAMLSerializer(Serializer):
    """Plain Python values as a YAML text that people can read: what YAML's safe types can carry.

    That is None, booleans, numbers, strings, bytes, dates, datetimes, lists, sets and dicts, in their order. A list or
    dict that occurs twice in a value is still one object when it comes back. Loading runs no code.
    """

    extension = "yaml"
    name = "yaml"
    safe = True

    def dumps(self, data: Any) -> bytes:
        """The YAML text of ``data`` in UTF-8. Raises SerializationError that says which part has no YAML form."""
        import yaml

        try:
            return yaml.dump(
                data, Dumper=_dumper(), encoding="utf-8", allow_unicode=True, sort_keys=False, width=_WIDTH
            )
        except Exception as error:
            raise SerializationError(_refusal(data, error)) from error

    def loads(self, data: bytes) -> Any:
        """The value of the text. Tags that would make other objects than plain values raise yaml.YAMLError."""
        import yaml

        if not data:  # for YAML that is None
            raise SerializationError("an empty file holds no value: what was written to it is lost")
        return yaml.load(bytes(data), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  (both are safe)

    def changes(self, data: Any) -> str | None:
        """What YAML would give back as something else: tuples, and datetimes whose zone has a name."""
        for part in odd_parts(data, _PLAIN, _PLAIN):
            if type(part.value) is tuple:
                return f"{part} becomes a list"
            moments = part.value if type(part.value) is set else [part.value]
            for moment in moments:
                if type(moment) is datetime and (loss := _loss(moment)):
                    return f"{Part(moment, part.place, part.is_key)} {loss}"
        return None


_WIDTH = 120  # columns

_PLAIN = SCALARS | {bytes, date}

_FLAT = frozenset({int, float, bool, type(None)})

_KINDS = _PLAIN | {datetime, set, tuple, list, dict}


@cache
def _dumper() -> type[yaml.SafeDumper]:
    """PyYAML's safe dumper, in C where there is one, with our style; made here because yaml is imported late."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return isinstance(data, date) or super().ignore_aliases(data)

    def represent_str(dumper: Any, text: str) -> Any:
        style = None
        if not text.isprintable():
            # Quoted text loses the difference between line breaks; escapes and literal blocks keep it.
            style = "|" if text.replace("\n", "").isprintable() else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def represent_list(dumper: Any, items: list[Any]) -> Any:
        numbers = _FLAT.issuperset(map(type, items))
        return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=numbers)

    def represent_dict(dumper: Any, items: dict[Any, Any]) -> Any:
        return dumper.represent_mapping("tag:yaml.org,2002:map", _keys(items), flow_style=not items)

    def represent_set(dumper: Any, items: set[Any]) -> Any:
        # The order of a set differs from process to process; that of a file should not.
        ordered = dict.fromkeys(sorted(items, key=lambda item: (type_name(type(item)), repr(item))))
        return dumper.represent_mapping("tag:yaml.org,2002:set", _keys(ordered), flow_style=not items)

    def represent_datetime(dumper: Any, moment: datetime) -> Any:
        if (moment.utcoffset() or timedelta()).total_seconds() % 60:
            raise ValueError("an offset from UTC with seconds")
        return dumper.represent_scalar("tag:yaml.org,2002:timestamp", moment.isoformat(" "))

    Dumper.add_representer(str, represent_str)
    Dumper.add_representer(list, represent_list)
    Dumper.add_representer(tuple, represent_list)
    Dumper.add_representer(dict, represent_dict)
    Dumper.add_representer(set, represent_set)
    Dumper.add_representer(datetime, represent_datetime)
    return Dumper


def _keys(items: dict[Any, Any]) -> dict[Any, Any]:
    if any(type(key) is tuple for key in items):
        raise ValueError("a tuple as a key, which would be read as a list")
    return items


def _loss(moment: datetime) -> str | None:
    """What YAML forgets of a datetime."""
    if moment.fold:
        return "loses its fold"
    offset = moment.utcoffset()
    if offset is None:
        return None if moment.tzinfo is None else f"loses its zone {moment.tzinfo!r}"
    fixed = timezone(offset)
    same = type(moment.tzinfo) is timezone and moment.tzname() == fixed.tzname(None)
    return None if same else f"with the zone {moment.tzinfo} becomes one with the offset {fixed}"


def _refusal(data: Any, error: Exception) -> str:
    way_out = 'serializer="cloudpickle" stores nearly everything.'
    for part in odd_parts(data, _PLAIN, _PLAIN):
        unknown = type(part.value) not in _KINDS
        if unknown or (part.is_key and type(part.value) is tuple):
            return f"YAML has no form for {part}; {way_out}"
    return f"YAML cannot store this {type_name(type(data))}: {error}; {way_out}"
