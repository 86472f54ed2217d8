"""A third party's plugins work by name in a cache, without a word about them in the core."""

import asyncio

import pytest

from perscache import Cache
from perscache.errors import UnknownPlugin
from perscache.plugins import hookimpl

PLUGIN = """
    import ast
    from perscache.plugins import Serializer, Storage, hookimpl

    PERSCACHE_API = 1
    events = []

    class LiteralSerializer(Serializer):
        name = "literal"
        extension = "txt"

        def dumps(self, data):
            return repr(data).encode()

        def loads(self, data):
            return ast.literal_eval(data.decode())

    class ShelfStorage(Storage):
        schemes = ("shelf",)
        shelves = {}

        def __init__(self, name):
            self.kept = self.shelves.setdefault(name, {})

        @classmethod
        def from_url(cls, url, **options):
            return cls(url.partition("://")[2], **options)

        def read(self, path, deadline):
            try:
                return self.kept[path]
            except KeyError:
                raise FileNotFoundError(path) from None

        def write(self, path, data):
            self.kept[path] = data

    @hookimpl
    def perscache_serializers():
        return [LiteralSerializer]

    @hookimpl
    def perscache_storages():
        return [ShelfStorage]

    @hookimpl
    def perscache_fingerprints():
        return {"points.Point": lambda point: abs(point.x)}

    @hookimpl
    def perscache_miss(call):
        events.append("miss")

    @hookimpl
    def perscache_hit(call):
        events.append("hit")

    @hookimpl
    def perscache_store(entry):
        events.append(entry.format)
"""

POINTS = """
    class Point:
        def __init__(self, x):
            self.x = x
"""

ENTRY_POINTS = """
    [perscache.serializers]
    literal = everything
    [perscache.storages]
    shelf = everything
    [perscache.fingerprints]
    points = everything
    [perscache.observers]
    listening = everything
"""


@pytest.fixture
def everything(site):
    site.install("points", points=POINTS)
    site.install("perscache-everything", entry_points=ENTRY_POINTS, everything=PLUGIN)
    import everything  # type: ignore[import-not-found]

    return everything


def test_a_serializer_a_storage_and_an_observer_of_a_third_party_work_by_name(everything):
    runs = []
    cache = Cache("literal", "shelf://one", observers=["listening"])

    @cache
    def squares(n):
        runs.append(n)
        return {i: (i, i * i) for i in range(n)}

    assert squares(3) == squares(3) == {0: (0, 0), 1: (1, 1), 2: (2, 4)}
    assert runs == [3]
    assert everything.events == ["miss", "literal", "hit"]
    assert list(everything.ShelfStorage.shelves["one"].values()) == [b"{0: (0, 0), 1: (1, 1), 2: (2, 4)}"]


def test_they_work_in_async_code_too(everything):
    runs = []

    @Cache("literal", "shelf://two", observers=["listening"])
    async def double(n):
        runs.append(n)
        return 2 * n

    async def twice():
        return await double(4), await double(4)

    assert asyncio.run(twice()) == (8, 8)
    assert runs == [4]
    assert everything.events == ["miss", "literal", "hit"]


def test_the_fingerprints_of_a_third_party_make_the_key(everything):
    from points import Point  # type: ignore[import-not-found]

    cache = Cache("literal", "shelf://three")

    @cache
    def distance(point):
        return point.x

    assert [distance(Point(x)) for x in (-5, 5, 6)] == [-5, -5, 6]


def test_a_decorator_may_name_a_plugin_of_its_own(everything):
    cache = Cache("json", "memory://")

    @cache(serializer="literal", storage="shelf://four")
    def pair():
        return (1, 2)

    assert pair() == pair() == (1, 2)
    assert list(everything.ShelfStorage.shelves["four"].values()) == [b"(1, 2)"]


def test_a_typo_fails_at_decoration_and_not_at_night(everything):
    with pytest.raises(UnknownPlugin, match="did you mean 'literal'"):
        Cache("litteral")
    with pytest.raises(UnknownPlugin, match="did you mean 'literal'"):
        Cache("json", "memory://")(serializer="litteral")(len)
    with pytest.raises(UnknownPlugin, match=r"'shelv://'"):
        Cache("json", "shelv://one")


def test_a_failing_observer_costs_no_result(everything):
    class Failing:
        @hookimpl
        def perscache_miss(self):
            raise ZeroDivisionError

    @Cache("literal", "shelf://five", observers=[Failing(), "listening"])
    def one():
        return 1

    assert [one(), one()] == [1, 1]
    assert everything.events == ["miss", "literal", "hit"]
