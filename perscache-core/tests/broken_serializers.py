"""A sound serializer, and serializers that break one promise each. `test_conformance_kit` runs the kit on them."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from perscache.errors import SerializationError
from perscache.serializers import Serializer
from perscache.testing import SerializerTests


class Sound(Serializer):
    """Python's literals."""

    name = "literal"
    extension = "txt"
    safe = True

    def dumps(self, data: Any) -> bytes:
        text = repr(data)
        try:
            same = repr(ast.literal_eval(text)) == text
        except (ValueError, SyntaxError):
            same = False
        if not same:
            raise SerializationError(f"no literal gives this {type(data).__name__}")
        return text.encode()

    def loads(self, data: bytes) -> Any:
        return ast.literal_eval(bytes(data).decode())


class OnLiterals(SerializerTests):
    kind: type[Serializer] = Sound

    @pytest.fixture
    def serializer(self) -> Serializer:
        return self.kind()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        return [{"b": [2, 1], "a": (1, "x")}, ["c", "a", "b"], (2, 1)]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object()]


class TestSound(OnLiterals):
    pass


# --- Those that are not.


class DottedExtension(Sound):
    extension = ".txt"


class SpacedName(Sound):
    name = "my format"


class TextForBytes(Sound):
    def dumps(self, data: Any) -> bytes:
        return super().dumps(data).decode()  # type: ignore[return-value]


class OrderLost(Sound):
    def loads(self, data: bytes) -> Any:
        value = super().loads(data)
        return dict(sorted(value.items())) if isinstance(value, dict) else value


class TypeLost(Sound):
    def dumps(self, data: Any) -> bytes:
        return json.dumps(data).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class DamageAccepted(Sound):
    def loads(self, data: bytes) -> Any:
        try:
            return super().loads(data)
        except Exception:
            return None


class HalfAccepted(Sound):
    def loads(self, data: bytes) -> Any:
        text = data.decode()
        for end in range(len(text), 0, -1):
            try:
                return ast.literal_eval(
                    text[:end] + {"{": "}", "[": "]", "(": ")"}.get(text[0], "") * (end < len(text))
                )
            except (ValueError, SyntaxError):
                continue
        raise SerializationError("nothing")


class NotPicklable(Sound):
    def __init__(self) -> None:
        self.encode = lambda text: text.encode()


class AnotherIdentity(Sound):
    @property
    def identity(self) -> str:
        return f"literal:{id(self)}"


class Sorting(Sound):
    def dumps(self, data: Any) -> bytes:
        if isinstance(data, list):
            data.sort(key=repr)
        return super().dumps(data)


class RefusesNothing(Sound):
    def dumps(self, data: Any) -> bytes:
        return repr(data).encode()


class RefusesWithoutAWord(Sound):
    def dumps(self, data: Any) -> bytes:
        try:
            return super().dumps(data)
        except SerializationError:
            raise ValueError("cannot") from None


class RunsCode(Sound):
    def loads(self, data: bytes) -> Any:
        return eval(data)


class ByHash(Sound):
    """Words are kept by their hashes, which are others in another process."""

    def dumps(self, data: Any) -> bytes:
        return super().dumps(data).replace(b"}", f", {hash('salt')}: 0}}".encode())

    def loads(self, data: bytes) -> Any:
        value = super().loads(data)
        if isinstance(value, dict):
            del value[hash("salt")]
        return value


class OneBufferForAll(Sound):
    def dumps(self, data: Any) -> bytes:
        self.buffer = super().dumps(data)
        time.sleep(0.001)
        return self.buffer


class BytesOnly(Sound):
    """Says that it takes any buffer."""

    reads = "buffer"

    def loads(self, data: bytes) -> Any:
        return ast.literal_eval(data.decode())


class LoosePieces(Sound):
    def dumps(self, data: Any) -> bytes:
        return super().dumps(data)

    def buffers(self, data: Any) -> Sequence[bytes]:
        return [repr(data).encode()[:-1]]


BROKEN = [kind for kind in list(globals().values()) if isinstance(kind, type) and kind.__base__ is Sound]
for _kind in BROKEN:
    globals()[f"Test{_kind.__name__}"] = type(f"Test{_kind.__name__}", (OnLiterals,), {"kind": _kind})


class TestUnsaid(SerializerTests):
    pass
