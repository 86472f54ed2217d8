"""What a user may say of keys by hand: settings, annotations; and how calls are bound."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from perscache import Cache, HashBy, Ignore
from perscache.errors import ConfigurationError, PluginError, UnkeyableError
from perscache.key import KeyBuilder

cache = Cache(storage="memory://")


class Client:
    def __init__(self, url: str) -> None:
        self.url, self.handle = url, object()

    def __repr__(self) -> str:
        raise AssertionError("an ignored argument is never printed")

    def __hash__(self) -> int:
        raise AssertionError("an ignored argument is never hashed")

    __eq__ = None  # type: ignore[assignment]


Alias = Annotated[Client, Ignore]


def key(function: Any, *args: Any, **kwargs: Any) -> str:
    return str(function.cache.key(*args, **kwargs))


def every(a: Any, /, b: Any = 2, *rest: Any, c: Any = 3, d: Any = 4, **more: Any) -> Any: ...


SAME_CALLS: list[tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}, (1, 2), {}),
    ((1,), {}, (1,), {"b": 2}),
    ((1,), {}, (1,), {"c": 3}),
    ((1,), {"c": 5, "d": 6}, (1,), {"d": 6, "c": 5}),
    ((1,), {"x": 1, "y": 2}, (1,), {"y": 2, "x": 1}),
    ((1, 2, 3), {}, (1, *[2, 3]), {}),
    ((1,), {"a": 1}, (1, 2), {"a": 1}),
]
OTHER_CALLS: list[tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}, (2,), {}),
    ((1,), {}, (1, 2, 3), {}),
    ((1, 2, 3), {}, (1, 2, 3, 4), {}),
    ((1, 2, (3, 4)), {}, (1, 2, 3, 4), {}),
    ((1,), {"c": 5}, (1,), {"d": 5}),
    ((1,), {"x": 1}, (1,), {"y": 1}),
    ((1,), {}, (1,), {"a": 1}),
    ((1, 2, 3), {}, (1, 2), {"c": 3, "x": 3}),
    ((1,), {"x": 1, "y": 2}, (1,), {"x": 2, "y": 1}),
]


@pytest.mark.parametrize("calls", SAME_CALLS)
def test_all_spellings_of_a_call_share_a_key(calls: Any) -> None:
    args, kwargs, other_args, other_kwargs = calls
    f = cache(every)
    assert key(f, *args, **kwargs) == key(f, *other_args, **other_kwargs)


@pytest.mark.parametrize("calls", OTHER_CALLS)
def test_other_calls_have_other_keys(calls: Any) -> None:
    args, kwargs, other_args, other_kwargs = calls
    f = cache(every)
    assert key(f, *args, **kwargs) != key(f, *other_args, **other_kwargs)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2), {}), ((1,), {"x": 1}), ((1,), {"z": 1})])
def test_a_call_that_does_not_fit_raises_what_python_raises(args: Any, kwargs: Any) -> None:
    def f(x: Any, *, y: Any = 0) -> Any:
        return x, y

    with pytest.raises(TypeError) as expected:
        f(*args, **kwargs)
    with pytest.raises(TypeError) as raised:
        key(cache(f), *args, **kwargs)
    assert str(raised.value) == str(expected.value)


def test_arguments_that_change_during_the_call_are_keyed_before() -> None:
    @cache
    def f(values: list[int]) -> int:
        values.append(1)
        return len(values)

    assert [f([]), f([]), f([1])] == [1, 1, 2]


@pytest.mark.parametrize("ignore", ["client", ["client"], ("client",), {"client"}])
def test_an_ignored_argument_is_never_touched(ignore: Any) -> None:
    @cache(ignore=ignore)
    def f(x: int, client: Any = None) -> int:
        return x

    assert key(f, 1, Client("a")) == key(f, 1, client=Client("b")) == key(f, 1)
    assert key(f, 1, Client("a")) != key(f, 2, Client("a"))
    assert f(1, Client("a")) == 1


def test_a_keyword_that_is_swallowed_may_be_ignored() -> None:
    @cache(ignore="client")
    def f(x: int, **more: Any) -> int:
        return x

    assert key(f, 1, client=Client("a"), y=1) == key(f, 1, y=1) != key(f, 1, y=2)


def test_an_unknown_name_to_ignore_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigurationError, match=r"'clinet'.*did you mean 'client'"):

        @cache(ignore="clinet")
        def f(client: Any) -> None: ...


def test_an_annotation_leaves_a_parameter_out() -> None:
    @cache
    def f(x: int, client: Annotated[Client, Ignore]) -> int:
        return x

    @cache
    def g(x: int, client: Annotated[Client, Ignore] | None = None) -> int:
        return x

    @cache
    def h(x: int, client: Alias) -> int:
        return x

    @cache
    def missing(x: int, client: Annotated[NotThere, Ignore]) -> int:  # type: ignore[name-defined]  # noqa: F821
        return x

    for function in (f, g, h, missing):
        assert key(function, 1, Client("a")) == key(function, 1, Client("b")) != key(function, 2, Client("a"))


def test_an_annotation_that_is_a_text_leaves_a_parameter_out() -> None:
    def f(x: int, client: Any) -> int:
        return x

    f.__annotations__ = {"x": int, "client": Annotated[Client, Ignore]}
    assert key(cache(f), 1, Client("a")) == key(cache(f), 1, Client("b"))


def test_an_annotation_says_what_stands_for_a_parameter() -> None:
    @cache
    def f(client: Annotated[Client, HashBy(lambda client: client.url)]) -> None: ...

    @cache
    def several(*clients: Annotated[Client, HashBy(lambda client: client.url)]) -> None: ...

    assert key(f, Client("a")) == key(f, Client("a")) != key(f, Client("b"))
    assert key(several, Client("a"), Client("b")) == key(several, Client("a"), Client("b"))
    assert key(several, Client("a")) != key(several, Client("b"))


def test_hashers_speak_for_types_and_what_derives_from_them() -> None:
    class Secure(Client): ...

    @cache(hashers={Client: lambda client: client.url, float: lambda x: round(x, 2)})
    def f(value: Any) -> None: ...

    assert key(f, Client("a")) == key(f, Client("a")) != key(f, Client("b"))
    assert key(f, [Secure("a")]) == key(f, [Secure("a")]) != key(f, [Client("a")])
    assert key(f, 1.001) == key(f, 1.002) != key(f, 1.01)
    assert key(f, {"a": (1.001,)}) == key(f, {"a": (1.002,)})


@pytest.mark.parametrize("hashers", [{"Client": str}, {Client: 3}])
def test_hashers_without_meaning_are_refused_at_decoration(hashers: Any) -> None:
    with pytest.raises(ConfigurationError, match="hashers="):
        KeyBuilder(every, serializer="", hashers=hashers)


def test_what_a_users_own_rules_raise_goes_through_unchanged() -> None:
    def fails(_: Any) -> Any:
        raise LookupError("mine")

    class Fails:
        def __cache_key__(self) -> Any:
            raise LookupError("mine")

    for builder, value in (
        (KeyBuilder(every, hashers={Client: fails}), Client("a")),
        (KeyBuilder(every, key=fails), 1),
        (KeyBuilder(every), Fails()),
    ):
        with pytest.raises(LookupError, match="mine"):
            builder.digest((value,), {})


def test_a_handler_of_a_plugin_comes_before_our_rules_and_its_failure_is_its_own() -> None:
    asked: list[type] = []

    def handler_for(kind: type) -> Callable[[Any], Any] | None:
        asked.append(kind)
        return (lambda client: client.url) if kind is Client else None

    builder = KeyBuilder(every, handler_for=handler_for)
    assert builder.digest((Client("a"),), {}) == builder.digest((Client("a"),), {})
    assert builder.digest((Client("a"),), {}) != builder.digest((Client("b"),), {})
    assert asked.count(Client) == 1
    broken = KeyBuilder(every, handler_for=lambda _: lambda value: value.nothing)
    with pytest.raises(PluginError, match=r"test_key_settings.* failed"):
        broken.digest((Client("a"),), {})


def test_key_replaces_the_arguments_only() -> None:
    @cache(key=lambda x, y=0: x // 10)
    def f(x: int, y: int = 0) -> int:
        return x

    @cache(key=lambda x, y=0: x // 10)
    def g(x: int, y: int = 0) -> int:
        return -x

    assert key(f, 11) == key(f, 12, 5) != key(f, 21)
    assert key(f, 11) != key(g, 11)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        key(f)


def test_depends_adds_values_functions_packages_and_files(tmp_path: Path) -> None:
    def used(x: int) -> int:
        return x

    table = tmp_path / "table.csv"
    table.write_text("a,b")

    def made(depends: Any) -> str:
        return KeyBuilder(every, depends=depends).digest((1,), {})

    keys = [made(depends) for depends in ((), used, 3, 4.0, {"a": 1}, "pluggy", table, (3, used), [table, "pluggy"])]
    assert len(set(keys)) == len(keys)
    assert keys == [made(d) for d in ((), used, 3, 4.0, {"a": 1}, "pluggy", table, (3, used), [table, "pluggy"])]
    with pytest.raises(ConfigurationError, match="depends='no-such-thing'"):
        made("no-such-thing")


def test_depends_on_a_file_follows_its_content_and_not_its_place(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b")
    other = tmp_path / "other.csv"
    other.write_text("a,b")
    builder = KeyBuilder(every, depends=table)
    before = builder.digest((1,), {})
    assert KeyBuilder(every, depends=other).digest((1,), {}) == before
    table.write_text("a,c")
    assert builder.digest((1,), {}) != before
    table.write_text("a,b")
    assert builder.digest((1,), {}) == before
    table.unlink()
    assert builder.digest((1,), {}) != before


def test_depends_on_a_folder_follows_all_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    builder = KeyBuilder(every, depends=tmp_path / "data")
    before = builder.digest((1,), {})
    (tmp_path / "data" / "deep" / "a.txt").write_text("a")
    assert builder.digest((1,), {}) != before


def test_what_cannot_be_keyed_in_depends_is_an_error() -> None:
    with pytest.raises(UnkeyableError):
        KeyBuilder(every, depends=[object()]).digest((1,), {})


def _two(body: str, helper: str, **settings: Any) -> str:
    scope: dict[str, Any] = {"__name__": "made"}
    exec(f"def g(x): return {helper}\ndef f(x): return {body}", scope)
    return KeyBuilder(scope["f"], **settings).digest((1,), {})


@pytest.mark.parametrize(
    ("track", "own", "helpers"), [("deps", True, True), ("source", True, False), ("none", False, False)]
)
def test_track_says_how_far_code_counts(track: str, own: bool, helpers: bool) -> None:
    before = _two("g(x)", "1", track=track)
    assert (_two("g(x) + 1", "1", track=track) != before) is own
    assert (_two("g(x)", "2", track=track) != before) is helpers


@pytest.mark.parametrize("track", ["deps", "source", "none"])
def test_closures_never_share_however_little_is_tracked(track: str) -> None:
    def make(n: int) -> Callable[[int], int]:
        return lambda x: x + n

    one, two = (KeyBuilder(make(n), track=track).digest((1,), {}) for n in (1, 2))
    assert one != two


def test_a_track_without_meaning_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="'dep' has no meaning"):
        KeyBuilder(every, track="dep")


def test_serializer_version_and_name_are_parts_of_a_key() -> None:
    settings: list[dict[str, Any]] = [{}, {"serializer": "json:1"}, {"version": 1}, {"version": "1"}, {"name": "n"}]
    assert len({KeyBuilder(every, **setting).digest((1,), {}) for setting in settings}) == len(settings)


def test_a_sentinel_as_a_default_does_not_stop_a_function_from_being_cached() -> None:
    missing = object()

    @cache
    def f(x: int, y: Any = missing) -> Any:
        return x

    assert key(f, 1) == key(f, 1, missing) != key(f, 1, None)


@pytest.mark.parametrize("name", ["a.b", "x" * 300, "a/b", "ä", "con", "<lambda>", "..", "a b", "A" * 81])
def test_folders_are_safe_everywhere(name: str) -> None:
    folder = KeyBuilder(every, name=name).folder
    assert len(folder.encode()) <= 80
    assert folder.replace("-", "a").replace("_", "a").replace(".", "a").isascii()
    assert not set(folder) & set('/\\:*?"<>| ')
    assert folder not in {".", "..", "con"}


def test_names_that_look_alike_have_folders_of_their_own() -> None:
    names = ["a/b", "a_b", "a:b", "a b", "x" * 100, "x" * 101, "con"]
    assert len({KeyBuilder(every, name=name).folder for name in names}) == len(names)


def test_a_description_names_the_parts_and_touches_nothing_ignored() -> None:
    builder = KeyBuilder(every, ignore="b", version=3)
    text, parts = builder.describe(("x" * 500, Client("a")), {"c": [1] * 1000, "z": Client})
    assert len(text) <= 200
    assert "b=" not in text
    assert {"argument 'a'", "argument 'c'", "serializer", "setting version"} <= parts.keys()
    assert sum(len(name) + len(value) for name, value in parts.items()) < 2000
    assert builder.describe((), {}) is not None


def test_partials_and_callable_objects_can_be_cached() -> None:
    class Adds:
        def __init__(self, n: int) -> None:
            self.n = n

        def __call__(self, x: int) -> int:
            return x + self.n

    keys = {
        KeyBuilder(function, name="n").digest((1,), {})
        for function in (functools.partial(every, 1), functools.partial(every, 2), Adds(1), Adds(2), len)
    }
    assert len(keys) == 5
