"""The terminal: the commands of ``perscache``, from ``ls`` to ``new-plugin``.

No command loads a value, so none runs code that lies in a cache. Each is a function of the parsed options that gives
the exit status: 0 fine, 1 something is wrong, 2 the command line or a setting has no meaning.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..errors import ConfigurationError, PerscacheError, PluginError
from ..units import seconds, size_in_bytes
from .commands import clear, ls, prune, seal, show, verify
from .display import complain
from .doctor import doctor
from .new_plugin import KINDS, new_plugin
from .plugins import plugins

_STOPPED: Final = 130
_NO_READER: Final = 141  # as if ended by SIGINT, and by SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, ``sys.argv`` by default; gives the exit status."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # Names may hold what the terminal cannot show.
    try:
        status: int = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has enough. What is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER
    except KeyboardInterrupt:
        return _STOPPED
    except (ConfigurationError, PluginError) as error:
        return complain(error, 2)
    except (PerscacheError, OSError) as error:
        return complain(error, 1)
    return status


# --- The command line.


def _parser() -> argparse.ArgumentParser:
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="one JSON object, or one a line; raw numbers")
    on_storage = argparse.ArgumentParser(add_help=False)
    on_storage.add_argument("--storage", metavar="PATH_OR_URL", help="default: as for Cache() in this folder")
    parser = argparse.ArgumentParser(prog="perscache", description="Look after stored results.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], int], *common: argparse.ArgumentParser) -> argparse.ArgumentParser:
        about = (run.__doc__ or "").partition("\n")[0]
        name = run.__name__.replace("_", "-")
        added = commands.add_parser(name, parents=common, help=about, description=about)
        added.set_defaults(command=run)
        return added

    listing = command(ls, on_storage, as_json)
    _add_function(listing)
    listing.add_argument("--older-than", type=_told(seconds), metavar="AGE", help="such as 7d or 2h30m")
    listing.add_argument("--younger-than", type=_told(seconds), metavar="AGE")
    listing.add_argument("--larger-than", type=_told(size_in_bytes), metavar="SIZE", help="such as 1MB")
    listing.add_argument("--summary", action="store_true", help="a line for each function, with how its calls went")
    command(show, on_storage, as_json).add_argument("path", metavar="PATH", help="as ls shows it, or a file")
    _add_function(command(verify, on_storage, as_json))
    command(seal, on_storage, as_json).add_argument("file", metavar="FILE")
    pruning = command(prune, on_storage, as_json)
    pruning.add_argument("--older-than", type=_told(seconds), metavar="AGE", help="such as 30d")
    clearing = command(clear, on_storage, as_json)
    _add_function(clearing)
    for removing in (pruning, clearing):
        removing.add_argument("-y", "--yes", action="store_true", help="do it")
    command(plugins, as_json).add_argument("--check", action="store_true", help="load each, and say what is wrong")
    command(doctor, on_storage, as_json)
    making = command(new_plugin)
    making.add_argument("name", metavar="NAME", help="what users write, a URL scheme, or the types' top-level module")
    making.add_argument("--kind", choices=KINDS, required=True)
    making.add_argument("--folder", help="to be made; default: perscache-NAME")
    return parser


def _add_function(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("function", nargs="?", metavar="FUNCTION", help="its name, or a pattern such as 'shop.*'")


def _told(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """``parse``, whose complaint argparse passes on."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed
