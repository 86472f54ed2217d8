"""The commands: functions of the parsed options that give the exit status."""

from __future__ import annotations

import argparse
import sys
import time
from fnmatch import fnmatchcase
from typing import Final

from ..entry import Entry
from ..errors import ConfigurationError, DamagedEntry
from ..storage import LocalFileStorage, Storage, configured_storage
from ..units import spelled_duration, spelled_size
from . import display
from .display import clean, complain, note, number_of, say, say_json
from .finding import chosen, entries_of, file_of, folder_of, local_tiers, locate, storage_around
from .sums import Sum, over_limit

_READABLE: Final = frozenset(
    ["csv", "htm", "html", "ini", "json", "jsonl", "log", "md", "text", "toml", "tsv", "txt", "xml", "yaml", "yml"]
)


def ls(options: argparse.Namespace) -> int:
    """List what is stored, as it is found and in no order; or a line for each function."""
    storage = configured_storage(options.storage)
    if options.summary:
        return _summary(storage, options)
    found = 0
    for entry in chosen(storage, options):
        if options.json:
            say_json(display.facts(entry))
        else:
            if not found:
                say(display.LISTED)
            say(display.listed(entry))
        if not found:
            sys.stdout.flush()
        found += 1
    if not found:
        note(f"nothing of that kind is stored in {storage.identity}; --storage names another place")
    return 0


def show(options: argparse.Namespace) -> int:
    """Show all that is known of one entry, and the first lines of a readable one."""
    storage, path = locate(options.path, options.storage)
    entry = storage.peek(path)
    if entry is None:
        return complain(f"{path} is not stored in {storage.identity}; `perscache ls` lists what is", 1)
    content, seal, problem = None, "unknown", None
    readable = path.rpartition(".")[2] in _READABLE
    if storage.local or readable:
        try:
            data, proven = storage.inspect(path)
            seal = "intact" if proven else "none"
            content = display.first_lines(data) if readable else None
        except DamagedEntry as error:
            seal, problem = "damaged", str(error)
    facts = {**display.facts(entry), "file": file_of(storage, path), "seal": seal, "problem": problem}
    if options.json:
        say_json({**facts, "parts": dict(entry.parts), "content": content})
    else:
        display.tell(entry, facts, content)
    return 1 if problem else 0


def verify(options: argparse.Namespace) -> int:
    """Read every byte and check it against its seal; nothing is changed."""
    storage = configured_storage(options.storage)
    count = {"ok": 0, "damaged": 0, "unsealed": 0}
    problems: list[dict[str, str]] = []
    for entry in entries_of(storage, options.function, records=True):
        try:
            _, proven = storage.inspect(entry.path)
        except FileNotFoundError:
            continue  # Removed since it was listed.
        except (DamagedEntry, OSError) as error:
            if not storage.local and not isinstance(error, DamagedEntry):
                raise  # The server has trouble, not the entry.
            count["damaged"] += 1
            problems.append({"path": entry.path, "problem": str(error)})
            if not options.json:
                say(f"damaged: {clean(str(error))}")
        else:
            count["ok" if proven else "unsealed"] += 1
    if options.json:
        say_json({**count, "problems": problems})
    else:
        told = ", ".join(f"{number:,} {kind}" for kind, number in count.items())
        say(f"{number_of(sum(count.values()))} in {storage.identity}: {told}")
        if problems:
            say("A call that meets a damaged entry computes anew.")
    return 1 if problems else 0


def seal(options: argparse.Namespace) -> int:
    """Take a file that was edited by hand, in its place or set aside, as the result."""
    storage = storage_around(options.file, options.storage)
    if not isinstance(storage, LocalFileStorage):
        raise ConfigurationError(f"{storage.identity} keeps no files to seal: name the folder with --storage")
    path = storage.seal(options.file)
    if options.json:
        say_json({"path": path})
    else:
        say(f"sealed: {path} is what calls get now")
    return 0


def prune(options: argparse.Namespace) -> int:
    """Remove what is old or over the limit, and what killed writers left. Without -y only say so."""
    storage = configured_storage(options.storage)
    if options.yes:
        return _removed(storage, storage.prune(options.older_than), options)
    now = time.time()
    old, rest = Sum(), list[Entry]()
    limits = storage.max_size, getattr(storage, "max_entries", None)
    for entry in entries_of(storage, None):
        if options.older_than is not None and now - entry.created.timestamp() > options.older_than:
            old.add(entry)
        elif limits != (None, None):
            rest.append(entry)
    over = over_limit(rest, *limits)
    if options.json:
        say_json(
            {
                "entries": old.entries + over.entries,
                "size": old.size + over.size,
                "old": old.entries,
                "over_limit": over.entries,
                "done": False,
            }
        )
        return 0
    if options.older_than is not None:
        say(f"{number_of(old.entries)}, {spelled_size(old.size)}, older than {spelled_duration(options.older_than)}")
    if limits != (None, None):
        say(f"{number_of(over.entries)}, {spelled_size(over.size)}, over the limit")
    return _would_go(storage, old.entries + over.entries, old.size + over.size)


def clear(options: argparse.Namespace) -> int:
    """Remove all results, or those of a function; nothing else that lies there. Without -y only say so."""
    storage = configured_storage(options.storage)
    if options.yes and options.function is None:
        return _cleared(storage, storage.clear(), options)
    going = Sum()
    folders: set[str] = set()
    for entry in entries_of(storage, options.function, records=options.function is None):
        going.add(entry)
        folders.add(folder_of(entry))
    if options.yes:
        return _cleared(storage, sum(storage.clear(folder) for folder in sorted(folders)), options)
    if options.json:
        say_json({"entries": going.entries, "size": going.size, "done": False})
        return 0
    return _would_go(storage, going.entries, going.size)


def _summary(storage: Storage, options: argparse.Namespace) -> int:
    folders: dict[str, Sum] = {}
    for entry in chosen(storage, options):
        folders.setdefault(folder_of(entry), Sum()).add(entry)
    functions = {of_folder.function or folder: of_folder for folder, of_folder in folders.items()}
    ledger = storage.ledger()
    anything = (options.older_than, options.younger_than, options.larger_than) == (None, None, None)
    for function, counts in ({} if ledger is None else ledger.read()).items():
        if anything and (options.function is None or fnmatchcase(function, options.function)):
            functions.setdefault(function, Sum())
        if function in functions:
            functions[function].counts = counts
    rows = sorted(functions.items(), key=lambda row: (-row[1].size, row[0]))
    if options.json:
        for function, of_function in rows:
            say_json(display.sum_facts(function, of_function))
        return 0
    if not rows:
        note(f"nothing of that kind is stored in {storage.identity}; --storage names another place")
        return 0
    say(display.SUMMED)
    total = Sum()
    for function, of_function in rows:
        say(display.summed(function, of_function))
        total.merge(of_function)
    if len(rows) > 1:
        say(display.summed(f"{len(rows)} functions", total))
    return 0


def _would_go(storage: Storage, entries: int, size: int) -> int:
    say(f"{number_of(entries)}, {spelled_size(size)}, would go from {storage.identity}; with -y they do")
    return 0


def _cleared(storage: Storage, entries: int, options: argparse.Namespace) -> int:
    for tier in local_tiers(storage):
        tier.empty_trash()  # The thread that does it in a program would end with this process.
    return _removed(storage, entries, options)


def _removed(storage: Storage, entries: int, options: argparse.Namespace) -> int:
    if options.json:
        say_json({"entries": entries, "done": True})
    else:
        say(f"{number_of(entries)} removed from {storage.identity}")
    return 0
