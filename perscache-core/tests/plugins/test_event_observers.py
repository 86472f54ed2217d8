"""Observers hear what they ask for, whoever else listens, and cannot harm a call."""

import logging
import pickle
from datetime import UTC, datetime
from textwrap import dedent
from types import ModuleType

import pytest

from perscache import Cache
from perscache.entry import Entry
from perscache.errors import PluginContractError, UnknownPlugin
from perscache.events import Call, Observers
from perscache.plugins import hookimpl, specs, unregister
from perscache.plugins.contract import EVENTS
from perscache.plugins.known import Kind
from perscache.storage import MemoryStorage

CALL = Call("shop.price", "shop.price/1.json", "normal")
ENTRY = Entry(CALL.path, datetime(2026, 1, 1, tzinfo=UTC), 3)


class Diary:
    """Writes down what it hears."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def perscache_hit(self, call, entry, seconds):
        self.heard.append(("hit", call, entry, seconds))

    @hookimpl
    def perscache_miss(self, call, reason):
        self.heard.append(("miss", call, reason))

    @hookimpl
    def perscache_store(self, call, entry, seconds):
        self.heard.append(("store", call, entry, seconds))

    @hookimpl
    def perscache_evict(self, storage, entry, reason):
        self.heard.append(("evict", storage, entry, reason))

    @hookimpl
    def perscache_error(self, call, stage, error):
        self.heard.append(("error", call, stage, error))


class Clumsy:
    @hookimpl
    def perscache_hit(self):
        raise ZeroDivisionError("clumsy")

    @hookimpl
    def perscache_miss(self):
        raise ZeroDivisionError("clumsy again")


class Terse:
    def __init__(self):
        self.reasons = []

    @hookimpl
    def perscache_miss(self, reason):
        self.reasons.append(reason)


WATCHER = """
    from perscache.plugins import hookimpl

    PERSCACHE_API = 1
    heard = []

    @hookimpl
    def perscache_miss(reason):
        heard.append(reason)
"""


def tell_all(observers, storage=None):
    trouble = OSError("full")
    observers.hit(CALL, ENTRY, 0.5)
    observers.miss(CALL, "absent")
    observers.store(CALL, ENTRY, 0.25)
    for listener in observers.of_evictions:
        listener(storage, ENTRY, "limit")
    observers.error(CALL, "write", trouble)
    return [
        ("hit", CALL, ENTRY, 0.5),
        ("miss", CALL, "absent"),
        ("store", CALL, ENTRY, 0.25),
        ("evict", storage, ENTRY, "limit"),
        ("error", CALL, "write", trouble),
    ]


def test_an_observer_hears_every_event_with_its_facts():
    diary = Diary()
    assert diary.heard == tell_all(Observers([diary])) != []


def test_there_is_no_hook_that_nobody_calls():
    hooks = {name for name in vars(specs) if name.startswith("perscache_")}
    assert hooks - {kind.hook for kind in Kind} == set(EVENTS) == {hook for hook in dir(Diary) if hook in hooks}


def test_an_observer_takes_only_the_facts_that_it_names():
    terse = Terse()
    tell_all(Observers([terse]))
    assert terse.reasons == ["absent"]


def test_nobody_listens_until_somebody_is_given_or_registered(registered):
    none = Observers()
    assert not none.active
    assert Observers([Diary()]).active
    diary = registered(Diary())
    assert none.active
    assert diary.heard == tell_all(none) != []
    unregister(diary)
    assert not none.active


def test_a_registered_plugin_without_event_hooks_is_no_listener(registered):
    class Handlers:
        @hookimpl
        def perscache_fingerprints(self):
            return {}

    registered(Handlers())
    assert not Observers().active


def test_one_that_is_registered_and_given_hears_once(registered):
    diary = registered(Diary())
    tell_all(Observers([diary]))
    assert len(diary.heard) == 5


def test_an_observer_that_raises_is_logged_once_and_the_others_still_hear(caplog):
    before, after = Diary(), Diary()
    observers = Observers([before, Clumsy(), after])
    with caplog.at_level(logging.WARNING, logger="perscache"):
        told = tell_all(observers) + tell_all(observers)
    assert before.heard == after.heard
    assert len(after.heard) == len(told)
    (record,) = caplog.records
    assert "Clumsy" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


def test_a_keyboard_interrupt_in_an_observer_is_the_users():
    class Interrupted:
        @hookimpl
        def perscache_hit(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers([Interrupted()]).hit(CALL, ENTRY, 0.5)


def test_a_wrapper_wraps_nobody_elses_hook():
    class Wrapper:
        def __init__(self):
            self.seen = []

        @hookimpl(wrapper=True)
        def perscache_miss(self, reason):
            self.seen.append(reason)
            return (yield)

    wrapper, terse = Wrapper(), Terse()
    tell_all(Observers([wrapper, terse]))
    assert wrapper.seen == terse.reasons == ["absent"]


def test_a_module_can_observe():
    module = ModuleType("watching")
    exec(dedent(WATCHER), module.__dict__)
    tell_all(Observers([module]))
    assert module.heard == ["absent"]


def test_an_installed_observer_is_given_by_name_and_found_again_after_pickling(site):
    site.install("perscache-watcher", entry_points="[perscache.observers]\nwatcher = watcher\n", watcher=WATCHER)
    observers = pickle.loads(pickle.dumps(Observers(["watcher"])))
    tell_all(observers)
    import watcher  # type: ignore[import-not-found]

    assert watcher.heard == ["absent"]


def test_an_installed_plugin_that_is_loaded_for_something_else_does_not_listen(site):
    source = WATCHER + "\n    @hookimpl\n    def perscache_fingerprints():\n        return {'watcher.Thing': repr}\n"
    source += "\n    class Thing:\n        pass\n"
    site.install("perscache-watcher", entry_points="[perscache.fingerprints]\nwatcher = watcher\n", watcher=source)
    import watcher  # type: ignore[import-not-found]

    from perscache.plugins import registry

    assert registry.fingerprint_handler(watcher.Thing) is repr
    assert not Observers().active


def test_an_observer_that_is_given_as_an_object_is_pickled_as_it_pickles():
    observers = pickle.loads(pickle.dumps(Observers([Terse(), Diary()])))
    assert observers.active
    tell_all(observers)


def test_an_observer_by_an_unknown_name_is_an_error_with_a_suggestion(site):
    site.install("perscache-watcher", entry_points="[perscache.observers]\nwatcher = watcher\n", watcher=WATCHER)
    with pytest.raises(UnknownPlugin, match="did you mean 'watcher'"):
        Observers(["watchr"])


def test_an_unknown_hook_is_an_error_with_a_suggestion():
    class Misspelt:
        @hookimpl
        def perscache_hits(self):
            pass

    with pytest.raises(PluginContractError, match=r"Misspelt.*perscache_hits.*did you mean 'perscache_hit'"):
        Observers([Misspelt()])


def test_an_unknown_fact_is_an_error_that_names_it():
    class Curious:
        @hookimpl
        def perscache_hit(self, value):
            pass

    with pytest.raises(PluginContractError, match="value"):
        Observers([Curious()])


def test_a_class_is_no_observer_and_neither_is_a_coroutine_function():
    class Slow:
        @hookimpl
        async def perscache_hit(self):
            pass

    with pytest.raises(PluginContractError, match="an instance"):
        Observers([Diary])
    with pytest.raises(PluginContractError, match="coroutine"):
        Observers([Slow()])


def test_what_hears_nothing_is_no_observer(site):
    class Deaf:
        @hookimpl
        def perscache_serializers(self):
            return []

    with pytest.raises(PluginContractError, match="observes nothing"):
        Observers([Deaf()])
    deaf = WATCHER.replace("perscache_miss(reason)", "perscache_serializers()").replace(
        "heard.append(reason)", "return []"
    )
    site.install("perscache-deaf", entry_points="[perscache.observers]\ndeaf = deaf\n", deaf=deaf)
    with pytest.raises(PluginContractError, match=r"perscache-deaf 1.0.*implements no event hook"):
        Observers(["deaf"])


def test_a_call_cannot_be_changed_by_whom_it_is_told():
    with pytest.raises(AttributeError):
        CALL.path = "elsewhere"  # type: ignore[misc]


def test_a_storage_that_caches_share_tells_each_observer_once(registered):
    everywhere, here = registered(Diary()), Diary()
    storage = MemoryStorage(max_entries=1)
    functions = [Cache("json", storage, observers=[here])(name=name)(lambda x: x) for name in "ab"]
    for function in functions:
        function(1)
    assert [event for event, *_ in everywhere.heard].count("evict") == 1
    assert [event for event, *_ in here.heard].count("evict") == 1
