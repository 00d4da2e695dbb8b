# SPDX-License-Identifier: MIT
"""What the user asked for, and what cannot be meant."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_xenscrub import option_paths, option_places, option_values
from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.guest.sample import FillChoice
from pytest_xenscrub.host.description import HostDescription
from pytest_xenscrub.host.target import Target
from pytest_xenscrub.options import (
    ALL_OPTIONS,
    Options,
    add_options,
    asked_for_xen,
    bisects,
    read_options,
)
from pytest_xenscrub.report.wanted import ProfileChoice

if TYPE_CHECKING:
    from pathlib import Path

BAD = [
    ("host", "lab;7", "'lab;7' is not a host"),
    ("hosts_file", "/no/such/file", "/no/such/file: there is no such file"),
    ("lock_wait", "-1", "'-1' is not a time"),
    ("lock_wait", "soon", "'soon' is not a time"),
    ("host_memory", "big", "'big' is not a size"),
    ("host_cpus", "0", "'0' is not a number of CPUs"),
    ("host_cpus", "33", "'33' is not a number of CPUs"),
    ("host_cpus", "all", "'all' is not a number of CPUs"),
    ("host_nodes", "0", "'0' is not a number of NUMA nodes"),
    ("host_nodes", "9", "'9' is not a number of NUMA nodes"),
    ("suite", "sid", "'sid' is not one of: bookworm, trixie"),
    ("toolstack", "xapi", "'xapi' is not one of: xl, libvirt"),
    ("tools", "some", "'some' is not one of: host, build"),
    ("ssh_config", "/no/such/file", "/no/such/file: there is no such file"),
    ("power", "echo {host}", "is no power command: it lacks {action}"),
    ("serial", "tail {console}", "is no serial log command: {console} means nothing here"),
    ("guest_memory", "0", "'0' is not a size"),
    ("min_coverage", "101%", "'101%' is not a share"),
    ("min_coverage", "nan", "'nan' is not a share"),
    ("min_coverage", "0.99%", "'0.99%' is too little to call memory clean"),
    ("min_coverage", "1e-9", "'1e-9' is too little to call memory clean"),
    ("fill", "0", "'0' is not a share"),
    ("fill", "0/4", "'0/4' is not a share"),
    ("fill", "1/0", "'1/0' is not a share"),
    ("fill", "5/4", "'5/4' is not a share"),
    ("fill", "nan", "'nan' is not a share"),
    ("fill", "101%", "'101%' is not a share"),
    ("fill", "half", "'half' is not a share"),
    ("fill", "1e-12", "1e-12 is too small a share: it fills no page"),
    ("fill", "1/16:", "'' is not a seed"),
    ("fill", "1/16:0", "'0' is not a seed"),
    ("fill", "1/16:xyz", "'xyz' is not a seed"),
    ("max_exposure", "0", "'0' is not a number above 0"),
    ("max_exposure", "inf", "'inf' is not a number above 0"),
    ("max_exposure", "soon", "'soon' is not a number above 0"),
    ("variant", "no-such", "neither a variant's name nor a file"),
    ("config", "DEBUG", "not KEY=VALUE"),
    ("results", "/no/such/folder/file", "cannot be written: No such file or directory"),
    ("profile", "test_x.py::test_it", "these are tests, and no folder for profiles"),
    ("profile", "/proc/no", "/proc/no: cannot be made"),
    ("compare", "/no/such/file", "/no/such/file: there is no such file"),
    ("fail_if", "destroy", "'destroy' is not a limit"),
    ("logs", "/proc/no/folder", "cannot be made"),
    ("html", "/no/such/folder/page.html", "cannot be written"),
    ("repeat", "0", "'0' is not a number of repeats"),
    ("repeat", "two", "'two' is not a number of repeats"),
]
BAD_FLAGS = [
    ("control", "maybe", "neither yes nor no"),
    ("allow_busy", "perhaps", "neither yes nor no"),
    ("show_residue", "2", "neither yes nor no"),
]


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PYTEST_XEN_"):
            monkeypatch.delenv(name)


def options(pytester: pytest.Pytester, *arguments: str, ini: str = "") -> Options:
    pytester.makeini(f"[pytest]\n{ini}")
    return read_options(pytester.parseconfig(*arguments))


def argument(key: str) -> str:
    return "--xen-" + key.replace("_", "-")


def variable(key: str) -> str:
    return "PYTEST_XEN_" + key.upper()


# -- who wins ----------------------------------------------------------------------------------


def test_defaults(pytester: pytest.Pytester) -> None:
    given = options(pytester)
    assert (given.host, given.results, given.ssh_config) == ((), None, None)
    assert (given.power, given.serial) == ((), ())
    assert (given.host_memory, given.guest_memory) == (None, None)
    assert (given.host_cpus, given.host_nodes) == (None, 1)
    assert (given.variant, given.toolstack) == (("as-is",), ("xl",))
    assert (given.source, given.tools, given.suite) == ("debian", "host", "bookworm")
    assert (given.compare, given.fail_if) == (None, ())
    assert (given.min_coverage, given.repeat) == (0.99, 1)
    assert not given.control
    assert not given.show_residue


def test_command_line_before_environment_before_ini(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini = "xen_repeat = 3"
    assert options(pytester, ini=ini).repeat == 3
    monkeypatch.setenv("PYTEST_XEN_REPEAT", "2")
    assert options(pytester, ini=ini).repeat == 2
    assert options(pytester, "--xen-repeat=4", ini=ini).repeat == 4


def test_lists_replace_each_other_as_a_whole(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini = "xen_variant =\n  stock\n  sync\n"
    assert options(pytester, ini=ini).variant == ("stock", "sync")
    monkeypatch.setenv("PYTEST_XEN_VARIANT", "tasklet stock")
    assert options(pytester, ini=ini).variant == ("tasklet", "stock")
    given = ("--xen-variant=sync", "--xen-variant=noscrub")
    assert options(pytester, *given, ini=ini).variant == ("sync", "noscrub")


def test_an_empty_variable_says_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_XEN_HOST", "")
    assert options(pytester, ini="xen_host = emulated").host == (HostDescription("emulated"),)


def test_a_flag_may_be_taken_back(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options(pytester, "--xen-control").control
    assert options(pytester, ini="xen_control = true").control
    monkeypatch.setenv("PYTEST_XEN_CONTROL", "no")
    assert not options(pytester, ini="xen_control = true").control


def test_a_profile_may_have_a_folder(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options(pytester).profile is None
    assert options(pytester, "--xen-profile").profile == ProfileChoice(None)
    folder = pytester.path / "out" / "profiles"
    assert options(pytester, f"--xen-profile={folder}").profile == ProfileChoice(folder)
    assert folder.is_dir()
    monkeypatch.setenv("PYTEST_XEN_PROFILE", "no")
    assert options(pytester, ini="xen_profile = yes").profile is None


def test_tests_are_not_taken_for_the_folder_of_profiles(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(**{"tests/scrub/test_it": "def test_it(): pass"})
    with pytest.raises(pytest.UsageError, match="put the tests before --xen-profile"):
        options(pytester, "--xen-profile", "tests")


def test_charts_need_what_draws_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options(pytester, "--xen-plots=out").plots == pytester.path / "out"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(pytest.UsageError, match=r"pip install 'pytest-xenscrub\[plots\]'"):
        options(pytester, "--xen-plots=out")


def test_hvm_guests_need_xl(pytester: pytest.Pytester) -> None:
    hvm, libvirt = "--xen-guest-type=hvm", "--xen-toolstack=libvirt"
    assert options(pytester, hvm).guest_type == ("hvm",)
    assert options(pytester, hvm, libvirt, "--xen-toolstack=xl").toolstack == ("libvirt", "xl")
    with pytest.raises(pytest.UsageError, match="needs --xen-toolstack=xl"):
        options(pytester, hvm, libvirt)


def test_what_values_mean(pytester: pytest.Pytester, tmp_path: Path) -> None:
    ssh_config = tmp_path / "ssh"
    ssh_config.touch()
    given = options(
        pytester,
        "--xen-host=root@lab7:2222",
        "--xen-host-memory=4G",
        "--xen-guest-memory=1.5GiB",
        "--xen-min-coverage=99.9%",
        "--xen-max-exposure=2.5",
        "--xen-config=DEBUG=y",
        "--xen-config=NR_CPUS=8",
        "--xen-cmdline=sched=credit dom0_mem=1G",
        f"--xen-results={tmp_path / 'results'}",
        f"--xen-ssh-config={ssh_config}",
        "--xen-show-residue",
    )
    assert [host.target for host in given.host] == [Target("lab7", "root", 2222)]
    assert (given.host_memory, given.guest_memory) == (4 << 30, 3 << 29)
    assert given.min_coverage == pytest.approx(0.999)
    assert given.max_exposure == 2.5
    assert given.config == ("DEBUG=y", "NR_CPUS=8")
    assert given.cmdline == "sched=credit dom0_mem=1G"
    assert given.results == tmp_path / "results"
    assert given.ssh_config == ssh_config
    assert given.show_residue


def test_another_xen_than_the_hosts_own_is_a_comparison(pytester: pytest.Pytester) -> None:
    assert not options(pytester).compares
    assert not options(pytester, "--xen-variant=as-is").compares
    assert options(pytester, "--xen-variant=stock").compares
    assert options(pytester, "--xen-control").compares


# -- what cannot be meant ----------------------------------------------------------------------


def usage_error(pytester: pytest.Pytester, *arguments: str, ini: str = "") -> str:
    """The one line that tells it."""
    pytester.makeini(f"[pytest]\n{ini}")
    result = pytester.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    line: str = next(line for line in result.errlines if line.startswith("ERROR: "))
    return line


@pytest.mark.parametrize(("key", "value", "why"), BAD)
def test_a_bad_value_on_the_command_line(
    pytester: pytest.Pytester, key: str, value: str, why: str
) -> None:
    line = usage_error(pytester, f"{argument(key)}={value}")
    assert line.startswith(f"ERROR: {argument(key)}: ")
    assert why in line


@pytest.mark.parametrize(("key", "value", "why"), [*BAD, *BAD_FLAGS])
def test_a_bad_value_in_the_environment(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, key: str, value: str, why: str
) -> None:
    monkeypatch.setenv(variable(key), value)
    line = usage_error(pytester)
    assert line.startswith(f"ERROR: environment variable {variable(key)}: ")
    assert why in line


@pytest.mark.parametrize(("key", "value", "why"), [*BAD, *BAD_FLAGS])
def test_a_bad_value_in_the_ini_file(
    pytester: pytest.Pytester, key: str, value: str, why: str
) -> None:
    line = usage_error(pytester, ini=f"xen_{key} = {value}")
    assert line.startswith(f"ERROR: ini option xen_{key}: ")
    assert why in line


def test_a_bad_value_that_another_one_covers_is_never_looked_at(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_XEN_REPEAT", "many")
    assert options(pytester, "--xen-repeat=2").repeat == 2


def test_options_of_a_build_without_a_built_xen(pytester: pytest.Pytester) -> None:
    line = usage_error(pytester, "--xen-config=DEBUG=y")
    assert "--xen-config is for a Xen that is built, and none is" in line


def test_a_power_command_of_no_machine(pytester: pytest.Pytester) -> None:
    line = usage_error(pytester, "--xen-power=echo {action}", "--xen-host=emulated")
    assert "--xen-power and --xen-serial are for a machine of --xen-host=" in line


def test_two_variants_of_one_name(pytester: pytest.Pytester) -> None:
    line = usage_error(pytester, "--xen-variant=stock", "--xen-variant=stock")
    assert "two variants of the name 'stock'" in line


def test_each_option_tells_its_three_places_in_the_help(pytester: pytest.Pytester) -> None:
    text = " ".join(pytester.runpytest_inprocess("--help").outlines)
    assert "%%" not in text
    words = text.split()
    for option in ALL_OPTIONS:
        assert any(word.startswith(option.argument) for word in words), option.key
        assert f"{option.variable}," in words, option.key
        assert f"{option.ini}]" in words, option.key


# -- how they are declared to pytest -----------------------------------------------------------


class Declared:
    """Stands for pytest's parser and its group of options: keeps what they are told."""

    def __init__(self) -> None:
        self.arguments: dict[str, dict[str, object]] = {}
        self.ini: dict[str, tuple[str, str]] = {}

    def getgroup(self, _name: str, _description: str) -> Declared:
        return self

    def addoption(self, argument: str, **how: object) -> None:
        self.arguments[argument] = how

    def addini(self, name: str, help: str, type: str) -> None:  # noqa: A002 - as pytest has them
        self.ini[name] = (help, type)


@pytest.fixture
def declared() -> Declared:
    kept = Declared()
    add_options(cast("pytest.Parser", kept))
    return kept


def test_each_field_is_declared_once_and_in_order(declared: Declared) -> None:
    keys = [field.name for field in dataclasses.fields(Options)]
    assert list(declared.arguments) == [argument(key) for key in keys]
    assert list(declared.ini) == [f"xen_{key}" for key in keys]
    assert [how["dest"] for how in declared.arguments.values()] == list(declared.ini)


@pytest.mark.parametrize(
    ("key", "how", "kind"),
    [
        ("repeat", {"metavar": "N"}, "string"),
        ("config", {"metavar": "KEY=VALUE", "action": "append"}, "linelist"),
        ("show_residue", {"action": "store_const", "const": "yes"}, "string"),
        ("profile", {"metavar": "FOLDER", "nargs": "?", "const": "yes"}, "string"),
        ("min_coverage", {"metavar": "SHARE"}, "string"),
    ],
)
def test_how_each_sort_of_option_is_declared(
    declared: Declared, key: str, how: dict[str, object], kind: str
) -> None:
    (said,) = [option.help for option in ALL_OPTIONS if option.key == key]
    shown = f"{said} [env {variable(key)}, ini xen_{key}]"
    # pytest's own default is none: what stands nowhere else must be told from what was given.
    assert declared.arguments[argument(key)] == {
        "dest": f"xen_{key}", "default": None, "help": shown, **how,
    }  # fmt: skip
    assert declared.ini[f"xen_{key}"] == (said.replace("%%", "%"), kind)


def test_a_percent_sign_of_the_help_is_one_in_both_places(declared: Declared) -> None:
    assert "(default 99%%)" in str(declared.arguments["--xen-min-coverage"]["help"])
    assert "(default 99%)" in declared.ini["xen_min_coverage"][0]


def test_without_a_word_of_the_user_all_fields_have_their_defaults(
    pytester: pytest.Pytester,
) -> None:
    assert options(pytester) == Options()


@pytest.mark.parametrize("key", ["host", "hosts_file", "variant", "toolstack", "tools", "control"])
def test_an_ini_file_alone_asks_for_no_xen(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    pytester.makeini(f"[pytest]\nxen_{key} = yes")
    config = pytester.parseconfig()
    assert not asked_for_xen(config)
    monkeypatch.setenv(variable(key), "yes")
    assert asked_for_xen(config)


def test_which_options_ask_for_a_xen(pytester: pytest.Pytester) -> None:
    assert not asked_for_xen(pytester.parseconfig("--xen-repeat=2", "--xen-results=out"))
    assert asked_for_xen(pytester.parseconfig("--xen-repeat=2", "--xen-host=emulated"))


@pytest.mark.parametrize("text", ["", "half", "1.5", "0", "-1%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a share"):
        option_values.share(text)


def test_a_command_that_cannot_be_split_is_left_to_its_parser(tmp_path: Path) -> None:
    assert option_paths.command_beside("./power 'off", tmp_path) == "./power 'off"
    assert option_paths.command_beside("./power off", tmp_path) == f"{tmp_path / 'power'} off"


def test_a_wrong_exit_option_is_not_bisects(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise pytest.UsageError("--xen-exit=maybe")

    monkeypatch.setattr(option_places.Option, "read", wrong)
    config: Any = None
    assert not bisects(config)


# -- a share of a victim's pages ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("1/256", FillChoice(1 / 256)),
        ("0.5", FillChoice(0.5)),
        ("6.25%", FillChoice(1 / 16)),
        ("100%", FillChoice()),
        ("1/16:5eed", FillChoice(1 / 16, 0x5EED)),
    ],
)
def test_a_share_to_fill(pytester: pytest.Pytester, text: str, choice: FillChoice) -> None:
    assert options(pytester, f"--xen-fill={text}").fill == choice


def test_a_share_that_fills_no_page_of_a_victim(pytester: pytest.Pytester) -> None:
    with pytest.raises(pytest.UsageError, match=r"fills no page of .* \(--xen-guest-memory\)"):
        options(pytester, "--xen-fill=1/1000000", "--xen-guest-memory=8M")
    assert options(pytester, "--xen-fill=1/2000", "--xen-guest-memory=8M").fill.share == 1 / 2000
