"""What every storage promises, as one class of tests to derive from."""

from __future__ import annotations

from .caching import Caching
from .place import Around
from .reading import Reading
from .removing import Removing
from .sharing import Sharing

__all__ = ["Around", "StorageTests"]


class StorageTests(Reading, Removing, Sharing, Caching):
    """Tests of a storage. Derive a class whose name begins with Test, and override:

    ``open_storage``
        a fixture, the only one that must be given: a function that opens a new instance on a place of this test's own,
        empty at first and the same at each call. It takes the constructor's options, such as ``max_size``.
    ``url``
        a fixture: the URL of that place. Needed where the class has ``schemes``.
    ``around``
        a fixture: ``Around(read, write)``, functions that go to the stored bytes past the storage, by the service's own
        client or the file system: ``read(path)`` gives them, ``write(path, data)`` changes them, and leaves alone what
        else is kept of the entry. Without it, or without ``write``, the tests that need it are skipped.

        class TestAtticStorage(StorageTests):
            limits = False

            @pytest.fixture
            def open_storage(self, tmp_path):
                return lambda **options: AtticStorage(tmp_path, **options)

            @pytest.fixture
            def url(self, tmp_path):
                return f"attic://{tmp_path}"

            @pytest.fixture
            def around(self, tmp_path):
                return Around(lambda path: (tmp_path / path).read_bytes(),
                              lambda path, data: (tmp_path / path).write_bytes(data))

    What a storage need not offer is declared, as an attribute of the class. Each is True unless it says otherwise; the
    tests of what is False are skipped with that reason, and a declaration that the storage itself belies fails:

    ``lists``      entries can be looked at, listed and removed (``peek``, ``entries``, ``delete``)
    ``prunes``     ``prune`` removes what is too old
    ``tells``      ``listeners`` are told of what is removed
    ``knows``      arguments and compute time of an entry are kept
    ``verifies``   changed and truncated bytes are noticed: DamagedEntry
    ``limits``     it takes ``max_size``, and keeps to it
    ``locks``      one at a time computes an entry, among threads and processes, and who dies is taken over from
                   (``lock``)
    ``outlives``   other processes see the same entries, forked ones too, and it can be pickled

    ``resolution``, 1 second, is how exact its times of writing are: say 0.01 where they are, and the tests wait less.
    ``patience``, 60 seconds, is how long another process may take to answer. Settings of perscache in the environment
    are out of the way. Each test asks for the fixtures anew.
    """
