# SPDX-License-Identifier: MIT
"""The power command: what it may look like, how it is run, and what its errors say."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_xenscrub.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InfrastructureError,
)
from pytest_xenscrub.host import power
from pytest_xenscrub.host.description import parse_host
from pytest_xenscrub.host.power import Action, PowerSwitch, SerialLog, parse_power, parse_serial

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline


def run(text: str, action: Action = "cycle") -> str:
    return PowerSwitch(parse_power(text), "lab7").run(action)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("echo {host}", "it lacks {action}"),
        ("echo {action} {bmc}", "{bmc} means nothing here"),
        ("echo {action} {}", "{} means nothing here"),
        ("echo {action!r}", "{action!r} means nothing here"),
        ("echo {host:>9} {action}", "{host:>9} means nothing here"),
        ("echo {action:>9}", "'>9' is not of the form word=other,word=other"),
        ("echo {action:status=}", "'status=' is not of the form"),
        ("echo {action:status=get,}", "'status=get,' is not of the form"),
        ("echo {action:state=get}", "{action} is never state, but: cycle, off, on, status"),
        ("echo {host:on=1} {action}", "{host:on=1} means nothing here"),
        ("echo {action", "expected '}' before end of string"),
        ("echo '{action}", "no closing quotation"),
        ("no-such-tool {action}", "there is no program no-such-tool"),
    ],
)
def test_what_is_no_power_command(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_power(text)
    assert why in str(caught.value)


def test_words_reach_the_program_as_they_are_and_no_shell_sees_them() -> None:
    assert run("printf '%s|' {action} bmc-{host} '$HOME; a  b' '{{}}'", "status") == (
        "status|bmc-lab7|$HOME; a  b|{}|"
    )


@pytest.mark.parametrize(
    ("action", "said"), [("status", "get"), ("cycle", "re-set"), ("on", "on"), ("off", "off")]
)
def test_an_action_that_the_tool_calls_otherwise(action: Action, said: str) -> None:
    words = "printf %s {action:status=get,cycle=re-set}"
    assert run(words, action) == said


def test_failure_is_an_error_with_the_tools_output() -> None:
    with pytest.raises(InfrastructureError) as caught:
        run("sh -c 'echo BMC is not there >&2; exit 3' {action}")
    error = str(caught.value)
    assert "lab7: power cycle: the command returned 3" in error
    assert "BMC is not there" in error


def test_what_cannot_be_executed_is_an_error() -> None:
    with pytest.raises(InfrastructureError, match="cannot be run: No such file"):
        run("{host}/tool {action}")


def test_a_tool_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "POWER_SECONDS", 0.1)
    begin = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="lab7: power cycle: not done"):
        run("sh -c 'exec sleep 60' {action}")
    assert time.monotonic() - begin < 5


def test_passwords_of_the_environment_are_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPMI_PASSWORD", "correct horse")
    with pytest.raises(InfrastructureError) as caught:
        run("""sh -c 'echo "login with $IPMI_PASSWORD"; exit 1' {action} 'correct horse'""")
    assert "login with ***" in str(caught.value)
    assert "correct horse" not in str(caught.value)
    with pytest.raises(ConfigurationError) as refused:
        parse_power("echo 'correct horse'")
    assert "correct horse" not in str(refused.value)


def test_a_serial_log_is_what_its_command_prints() -> None:
    log = SerialLog(parse_serial("printf 'one\\r\\ntwo {host}\\nthree\\n'"), "lab7")
    assert log.tail(2) == "two lab7\nthree"


def test_a_serial_log_that_cannot_be_had_says_why_and_is_no_error() -> None:
    log = SerialLog(parse_serial("sh -c 'echo no such console; exit 1'"), "lab7")
    assert "lab7: reading its serial log: the command returned 1" in log.tail(20)
    assert "no such console" in log.tail(20)
    with pytest.raises(ConfigurationError, match="is no serial log command"):
        parse_serial("tail {console}")


def test_host_is_the_name_and_address_is_where_ssh_goes() -> None:
    words = parse_power("echo {host} {address} {action}")
    assert PowerSwitch(words, "lab7", "10.0.0.7").run("status") == "lab7 10.0.0.7 status\n"
    log = SerialLog(parse_serial("echo {host} {address}"), "lab7", "10.0.0.7")
    assert log.read() == "lab7 10.0.0.7\n"


@pytest.mark.parametrize(
    ("name", "label"), [("root@lab7:2222", "lab7"), ("lab7", "lab7"), ("root@[fd00::7]", "fd00::7")]
)
def test_host_is_without_user_and_port(name: str, label: str) -> None:
    assert parse_host(name).label == label


def test_commands_are_tried_while_the_machine_is_well() -> None:
    lab7 = parse_host("root@lab7")
    good = parse_power("sh -c 'test $0 = status' {action}")
    power.try_commands(dataclasses.replace(lab7, power=good))
    bad = parse_serial("sh -c 'echo no console for {host}; exit 1'")
    with pytest.raises(InfrastructureError, match="reading its serial log") as caught:
        power.try_commands(dataclasses.replace(lab7, power=good, serial=bad))
    assert "no console for lab7" in str(caught.value)


def test_a_serial_log_that_does_not_come_is_not_xens() -> None:
    deadlines: list[Deadline] = []

    def note(_words: object, _values: object, deadline: Deadline) -> NoReturn:
        deadlines.append(deadline)
        raise deadline.error()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(power, "run_command", note)
        log = SerialLog(["cat", "log"], "lab7")
        with pytest.raises(DeadlineExceededError, match="reading its serial log"):
            log.read()
        assert "reading its serial log: not done" in log.tail(5)
        with pytest.raises(DeadlineExceededError, match="lab7"):
            PowerSwitch(["bmc"], "lab7").run("off")
    assert not any(deadline.blames_xen for deadline in deadlines)
