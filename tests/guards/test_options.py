"""Every option is a setting, and has a help with its default."""

from __future__ import annotations

import argparse
import runpy

import pytest

from harness.cli.main import COMMANDS, build_parser, parser_for
from harness.core.settings import Setting
from tests.guards.conftest import REPOSITORY

#: Words of the command line itself.
NOT_A_SETTING = {"help", "words"}


#: Yields every command and sub-command that has options of its own, by its name.
commands = runpy.run_path(str(REPOSITORY / "scripts" / "write_configuration.py"))["commands"]

EVERY = dict(commands(build_parser(lambda _: True)))


@pytest.mark.parametrize("command", EVERY)
def test_every_option_is_a_setting_with_help(command: str) -> None:
    parser = EVERY[command]
    settings: dict[str, Setting] = {one.name: one for one in parser.get_default("settings") or ()}
    shown = set()
    for action in parser._actions:
        if action.dest in NOT_A_SETTING:
            continue
        assert action.dest in settings, f"{command}: {action.dest} comes from no setting"
        if action.help != argparse.SUPPRESS:
            shown.add(action.dest)
            assert action.help, f"{command}: {action.dest} has no help"
    assert shown == set(settings)
    assert "options" not in {one.group for one in settings.values()}, f"{command}: no heading"


@pytest.mark.parametrize("command", EVERY)
def test_every_default_is_told(command: str) -> None:
    for one in EVERY[command].get_default("settings") or ():
        if one.required or (one.item is bool and not one.many):
            continue
        assert one.default_text, f"{command}: the help of {one.name} does not tell its default"
        assert one.default_text in one.description
        # A file has no null: what is not in it must be able to say None.
        assert not one.optional or one.default is None, f"{command}: {one.name}"


def test_every_number_of_a_size_or_time_has_its_unit() -> None:
    for command, parser in EVERY.items():
        for one in parser.get_default("settings") or ():
            if one.name.endswith(("_px", "_s", "_mb", "_megapixels")):
                assert one.unit, f"{command}: {one.name}"


#: Settings that are a number of threads, processes or connections.
STARTED = {"threads", "loaders", "workers", "processes", "jobs"}


def test_what_a_command_may_start_is_limited() -> None:
    found = set()
    for command, parser in EVERY.items():
        for one in parser.get_default("settings") or ():
            if one.name in STARTED:
                found.add(one.name)
                assert one.minimum == 1, f"{command}: {one.name}"
                assert one.maximum == 512, f"{command}: {one.name}"
    assert found == STARTED


def test_help_lists_the_commands_in_groups() -> None:
    assert {name.split()[0] for name in EVERY} == set(COMMANDS)
    text = parser_for([]).format_help()
    assert all(f"\n  {name}" in text for name in COMMANDS)
