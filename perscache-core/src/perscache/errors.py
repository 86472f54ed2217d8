"""Everything that perscache raises, and the one warning that it gives.

PerscacheError
├── CacheMiss (KeyError)              no usable entry for this call, and the function may not run
│   └── CacheExpired                  there is an entry, older than its time to live
├── ConfigurationError (ValueError)   a setting has no meaning; nothing was cached
├── UnkeyableError (TypeError)        an argument or a global has no value that a key could be made of
├── SerializationError (ValueError)   a serializer cannot store this value, or would change it
├── DamagedEntry (ValueError)         stored bytes are not what was written
├── StorageError (OSError)            a storage could not do its work
│   └── TierError                     one of several tiers could not; the others did theirs
├── Unsupported (NotImplementedError) a storage or serializer does not offer this
└── PluginError
    ├── PluginNotInstalled (ImportError)   known by name, its distribution is missing
    ├── UnknownPlugin (LookupError)        nobody offers this name
    ├── PluginImportError (ImportError)    its module fails to import
    ├── PluginContractError (TypeError)    it declares what it does not provide
    ├── RivalPlugins (LookupError)         two distributions claim the same name
    └── PluginVersionError (ImportError)   it was written for another plugin API

PerscacheWarning (UserWarning)        trouble that cost no result
"""

from __future__ import annotations

from collections.abc import Sequence


class PerscacheError(Exception):
    """The root: ``except PerscacheError`` catches whatever is ours."""


class CacheMiss(PerscacheError, KeyError):
    """No usable entry for this call, and the function was not to run."""

    # KeyError shows the repr of its argument; a message is to be read.
    __str__ = Exception.__str__


class CacheExpired(CacheMiss):
    """There is an entry, but it is older than its time to live. Storages raise it while reading."""


class ConfigurationError(PerscacheError, ValueError):
    """A setting, name or option has no meaning."""


class UnkeyableError(PerscacheError, TypeError):
    """A value has no identity that a key could be made of.

    ``path`` leads from the argument to the culprit, ``["argument 'cfg'", "['db']", ".conn"]``; ``reason`` says what it
    is, and why it has no identity.
    """

    def __init__(self, message: str = "", *, path: Sequence[str] = (), reason: str = "") -> None:
        """With the message that people read, which is the reason where there is no other."""
        super().__init__(message or reason)
        self.path = list(path)
        self.reason = reason or message


class SerializationError(PerscacheError, ValueError):
    """A serializer cannot store a value, or would give back another one."""


class DamagedEntry(PerscacheError, ValueError):
    """Stored bytes are not what was written. Storages raise it while reading; the call is a miss."""


class StorageError(PerscacheError, OSError):
    """A storage could not do its work."""

    # OSError takes its text from (errno, strerror); ours is one message.
    __str__ = Exception.__str__


class TierError(StorageError):
    """One of a storage's tiers, or more, could not do its work; the others did theirs."""


class Unsupported(PerscacheError, NotImplementedError):
    """A storage or a serializer does not offer what was asked of it."""


class PluginError(PerscacheError):
    """A plugin is missing, broken or ambiguous."""


class PluginNotInstalled(PluginError, ImportError):
    """The name is known, the distribution that provides it is not installed."""


class UnknownPlugin(PluginError, LookupError):
    """No installed distribution offers this name."""


class PluginImportError(PluginError, ImportError):
    """A plugin's module fails to import; the cause is chained."""


class PluginContractError(PluginError, TypeError):
    """A plugin does not provide what it declares, or provides it in another shape."""


class RivalPlugins(PluginError, LookupError):
    """Two distributions claim one name; nothing is picked."""


class PluginVersionError(PluginError, ImportError):
    """A plugin was written for another version of the plugin API."""


class PerscacheWarning(UserWarning):
    """Trouble that cost no result: a storage that failed, a value that a format would change."""
