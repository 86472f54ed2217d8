"""``perscache doctor``: what is installed, which settings are in force and why, where results go, and what is wrong."""

from __future__ import annotations

import argparse
import platform
import sys
from typing import Any

from ...plugins import discovery
from ...units import spelled_size
from .. import display
from ..plugins import Offer, check, facts, offers, say_offers, silence
from . import installation, places, settings
from .diagnosis import Diagnosis


def doctor(options: argparse.Namespace) -> int:
    """Say what is installed, which settings are in force and why, and what is wrong."""
    diagnosis = Diagnosis()
    with silence():
        distributions = installation.examine(diagnosis)
        offered = [check(offer) for offer in offers()]
        _judge(offered, diagnosis)
        in_force = settings.examine(diagnosis)
        mode = next(setting["value"] for setting in in_force if setting["name"] == "mode")
        storage = places.examine(options.storage, diagnosis, writes=mode not in {"bypass", "readonly", "offline"})
    python = {"version": platform.python_version(), "executable": sys.executable, "platform": platform.platform()}
    if options.json:
        display.say_json(
            {
                "python": python,
                "distributions": distributions,
                "plugins": [facts(offer) for offer in offered],
                "settings": in_force,
                "storage": storage,
                "problems": diagnosis.problems,
                "remarks": diagnosis.remarks,
            }
        )
    else:
        display.say(f"Python {python['version']}, {python['executable']}, {python['platform']}")
        _say_rows(("DISTRIBUTION", "VERSION", "FOLDER"), distributions)
        display.say("")
        say_offers(offered)
        _say_rows(("SETTING", "VALUE", "FROM"), in_force)
        for place in storage:
            _say_place(place)
        display.say("")
        diagnosis.tell()
    return 1 if diagnosis.problems else 0


def _judge(offered: list[Offer], diagnosis: Diagnosis) -> None:
    diagnosis.wrong(*discovery.scan().troubles, *(problem for offer in offered for problem in offer.problems))
    diagnosis.remarks += [
        f"{offer.claim.label} is disabled, and with it {offer.kind.called(offer.name)}: "
        f"take it out of {discovery.DISABLE} to have it"
        for offer in offered
        if offer.claim and offer.state == "disabled"
    ]


def _say_place(place: dict[str, Any]) -> None:
    known = {**place, "free": place["free"] and spelled_size(place["free"])} if "free" in place else place
    _say_rows(("STORAGE", known.pop("storage")), [{"name": name, "fact": fact} for name, fact in known.items()])


def _say_rows(heading: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    display.say("")
    display.say_table(heading, [[_spelled(cell) for cell in row.values()] for row in rows])


def _spelled(fact: Any) -> str:
    match fact:
        case None:
            return ""
        case bool():
            return "yes" if fact else "no"
        case list() | tuple():
            return ", ".join(map(str, fact))
        case _:
            return str(fact)
