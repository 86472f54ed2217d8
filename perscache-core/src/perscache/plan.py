"""A plan: all that a call of one function needs, made ready at decoration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from . import trouble
from .acceptance import Acceptance
from .buffers import Buffer, Form, Pieces
from .errors import SerializationError
from .serializers.base import Serializer, form_for, in_pieces
from .statistics import Statistics
from .trouble import OnError

if TYPE_CHECKING:
    from .entry import Stored
    from .events import Observers
    from .key import KeyBuilder
    from .modes import ModeSwitch
    from .signature import Signer
    from .storage.base import Storage


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Plan:
    """All that a call needs, made ready at decoration."""

    builder: KeyBuilder
    serializer: Serializer
    storage: Storage
    max_age: float | None
    """The time to live in seconds, None for ever."""
    lock: bool
    on_error: OnError
    store_if: Callable[[Any], bool] | None
    modes: ModeSwitch
    observers: Observers
    signer: Signer | None
    format: str
    """The serializer's name."""
    suffix: str
    """What every storage path ends with."""

    # What follows from the storage.
    prefix: str = field(init=False)
    """What every storage path of the function begins with: its folder, and what the storage puts behind that."""
    in_pieces: bool = field(init=False)
    """Whether values go to the storage in the pieces in which they lie."""
    reads: Form = field(init=False)
    """The form of bytes that the serializer is given, where the storage can."""
    form: Form | None = field(init=False)
    """The form that the storage is asked for; None where it is asked for none, and gives bytes."""
    statistics: Statistics = field(init=False)
    acceptance: Acceptance = field(init=False)

    def __post_init__(self) -> None:
        builder, storage, reads = self.builder, self.storage, form_for(self.serializer)
        ledger = storage.ledger() if self.modes.default.writes else None
        derived = {
            "prefix": builder.folder + ("/" if storage.folders else "-"),
            "in_pieces": storage.zero_copy and in_pieces(self.serializer),
            "reads": reads,
            "form": reads if storage.zero_copy and reads != "bytes" else None,
            "statistics": Statistics(None if ledger is None else (ledger, builder.function_name)),
            "acceptance": Acceptance(builder, storage),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def at(self, storage: Storage) -> Plan:
        """The same with its results in ``storage``, and with counts of its own."""
        return replace(self, storage=storage)

    @property
    def name(self) -> str:
        """The function's stable name."""
        return self.builder.function_name

    @property
    def folder(self) -> str:
        """The folder of the function's entries."""
        return self.builder.folder

    def path(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The storage path of a call; raises UnkeyableError, and TypeError where the call does not fit."""
        return f"{self.prefix}{self.builder.digest(args, kwargs)}{self.suffix}"

    def load(self, path: str) -> Stored:
        """What is stored under ``path``, in the form that the serializer is best given."""
        load: Any = self.storage.load  # The form is for those that take it.
        stored: Stored = load(path, self.max_age) if self.form is None else load(path, self.max_age, self.form)
        return stored

    def aload(self, path: str) -> Awaitable[Stored]:
        """`load` without holding up the event loop."""
        load: Any = self.storage.aload
        stored: Awaitable[Stored] = (
            load(path, self.max_age) if self.form is None else load(path, self.max_age, self.form)
        )
        return stored

    def decode(self, path: str, data: Buffer) -> Any:
        """The value of stored bytes."""
        if self.signer is not None and not self.serializer.safe:
            data = self.signer.unsign(path, data)
        if self.form is None and type(data) is memoryview:
            data = bytes(data) if self.reads == "bytes" else data.toreadonly()  # It may be the storage's own.
        return self.serializer.loads(data)  # type: ignore[arg-type]  # Who takes more than bytes says so in `reads`.

    def encode(self, path: str, value: Any) -> bytes | Pieces:
        """What to store; raises what the serializer raises, and SerializationError for what it would change.

        `Pieces` may show the value itself: they change with it.
        """
        change = self.serializer.changes(value)
        if change is not None:
            message = (
                f"{self.name}: {self.format} gives back another value than the function returned: {change}. "
                "Return what the format can hold, or use another serializer (cloudpickle keeps every type)"
            )
            if self.on_error is OnError.RAISE:
                raise SerializationError(message)
            if self.on_error is OnError.WARN:
                trouble.warn(message, once=(self.name, "changes"))
        buffers = self.serializer.buffers(value) if self.in_pieces else (self.serializer.dumps(value),)
        for buffer in buffers:
            if not isinstance(buffer, bytes | memoryview):
                kind = type(buffer).__name__
                raise SerializationError(f"{self.format}: dumps() gave {kind}, not bytes: mend the serializer")
        if self.signer is not None and not self.serializer.safe:
            buffers = self.signer.sign(path, buffers)
        if len(buffers) == 1 and isinstance(buffers[0], bytes):
            return buffers[0]
        return Pieces(buffers) if self.storage.zero_copy else b"".join(buffers)

    def expires(self, created: float) -> float | None:
        """When an entry of that time stops being fresh, in seconds since the epoch."""
        return None if self.max_age is None else created + self.max_age
