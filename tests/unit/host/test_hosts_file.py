# SPDX-License-Identifier: MIT
"""`--xen-hosts-file`: what it may say, and where each mistake is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host.description import HostDescription, left_out, make_pool, parse_host
from pytest_xenscrub.host.hosts_file import line_of, load_hosts
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from pathlib import Path


def test_all_keys(tmp_path: Path) -> None:
    path = tmp_path / "labs.toml"
    path.write_text("""
        [hosts.lab7]
        address = "fd00::7"
        user = "root"
        port = 2222
        power = "sh switch {action} {host}"
        serial = "cat /dev/null"
        boot = "sh pxe {action} {xen} {options}"
        toolstacks = ["xl"]
        tags = ["numa", "big", "numa"]
        [hosts.lab8]
    """)
    assert load_hosts(path) == (
        HostDescription(
            "lab7", Target("fd00::7", "root", 2222), ("sh", "switch", "{action}", "{host}"),
            ("cat", "/dev/null"), ("xl",), frozenset({"numa", "big"}),
            boot=("sh", "pxe", "{action}", "{xen}", "{options}"),
        ),
        HostDescription("lab8", Target("lab8")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("[hosts.a]\n\n# port\nprot = 22", 4, "hosts.a.prot: there is no such key"),
        ("[hosts.a]\nprot = 22", 2, "next: did you mean port?"),
        ("[hosts.a]\ncolour = 'red'", 2, "next: known are: address, user, port"),
        ("[host.a]", 1, "host: there is no such key"),
        ("[hosts.a]\nport = '22'", 2, "hosts.a.port: '22' is not a port number"),
        ("[hosts.a]\nport = true", 2, "True is not a port number"),
        ("[hosts.a]\ntags = 'numa'", 2, 'write it as ["one", "two"]'),
        ("[hosts.a]\ntags = [\n  'a',\n  3,\n]", 2, "3 is not a name"),
        ("[hosts.a]\ntoolstacks = ['xapi']", 2, "'xapi' is not one of: xl, libvirt"),
        ("[hosts.a]\naddress = 'root@a'", 2, "names a user"),
        ("[hosts.a]\naddress = 'a b'", 2, "is not a host"),
        ("[hosts.a]\nuser = '-oProxyCommand=x'", 2, "is not a name"),
        ("[hosts.a]\npower = 'sh switch'", 2, "hosts.a.power: "),
        ("[hosts.a]\nbroken = true", 2, "True is not text"),
        ("[hosts.a]\nbroken = ' '", 2, "is no reason"),
        ("[hosts.a]\nboot = 'sh {options}'", 2, "hosts.a.boot: "),
        ("[hosts.a]\nboot = 'sh {xen} {options} {action:on=x}'", 2, "never on, but: once, own"),
        ("[hosts.a]\n[hosts.emulated]", 2, "that is not a machine"),
        ("[hosts.a]\n[hosts.'a b']", 2, "is not a name"),
        ("hosts.a = 3", 1, "begin it with [hosts.a]"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    path = tmp_path / "labs.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_hosts(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [("a = \n", "line 1"), ("", "names no host"), ("hosts = 3", "names no host")],
)
def test_no_hosts_at_all(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "labs.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=why):
        load_hosts(path)


def test_the_line_is_that_of_the_key_and_of_nothing_that_looks_like_it() -> None:
    text = '''
[hosts.a]
tags = [
  # port = 1
  "b"]
serial = """cat
port = 2
"""
"port" = 3
'''
    assert line_of(text, ("hosts", "a", "tags")) == 3
    assert line_of(text, ("hosts", "a", "port")) == 9
    assert line_of(text, ("hosts", "a")) == 2


def test_a_host_that_is_named_is_the_one_of_the_file() -> None:
    lab7 = HostDescription("lab7", Target("10.0.0.7"), tags=frozenset({"numa"}))
    lab8 = HostDescription("lab8", Target("10.0.0.8"))
    assert make_pool([], [lab7, lab8]) == (lab7, lab8)
    assert make_pool([parse_host("lab8")], [lab7, lab8]) == (lab8,)
    other = parse_host("root@elsewhere")
    assert make_pool([other, parse_host("lab7")], [lab7, lab8]) == (other, lab7)
    assert make_pool([], []) == ()


def test_a_broken_host_is_left_out_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "labs.toml"
    path.write_text("[hosts.a]\nbroken = 'its fan is dead'\n[hosts.b]\n[hosts.c]\nbroken = 'lent'")
    a, b, c = hosts = load_hosts(path)
    assert make_pool([], hosts) == (b,)
    assert left_out(hosts) == "a (its fan is dead), c (lent)"
    for named in (["a"], ["b", "root@a"]):
        with pytest.raises(ConfigurationError, match=r"^out of use: a \(its fan is dead\)"):
            make_pool([parse_host(name) for name in named], hosts)
    with pytest.raises(ConfigurationError, match=r"a \(its fan is dead\), c \(lent\)"):
        make_pool([], [a, c])


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["lab7", "lab7"], "lab7 is named twice"),
        (["lab7", "emulated"], "emulated cannot be one of several hosts"),
    ],
)
def test_hosts_that_cannot_be_meant_together(names: list[str], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        make_pool([parse_host(name) for name in names], [])


def test_two_names_of_one_machine() -> None:
    hosts = [HostDescription(name, Target("10.0.0.7")) for name in ("a", "b")]
    with pytest.raises(ConfigurationError, match=r"a and b are the same host: 10\.0\.0\.7"):
        make_pool([], hosts)


def test_what_a_host_lacks() -> None:
    host = HostDescription("lab7", Target("lab7"), tags=frozenset({"numa"}))
    assert host.lacks(frozenset({"numa", "xl", "libvirt"})) == frozenset()
    assert host.lacks(frozenset({"numa", "big"})) == {"big"}
    one = HostDescription("lab8", Target("lab8"), toolstacks=("xl",))
    assert one.lacks(frozenset({"libvirt"})) == {"libvirt"}


def test_a_host_named_with_a_user_is_found_in_the_file_by_name_or_address() -> None:
    listed = HostDescription("lab7", Target("10.0.0.7", "ci"), power=("bmc",))
    for name in ("root@lab7", "root@10.0.0.7"):
        (found,) = make_pool([parse_host(name)], [listed])
        assert found.name == "lab7"
        assert found.power == ("bmc",)
        assert found.target == Target("10.0.0.7", "root")
    (other,) = make_pool([parse_host("root@lab8")], [listed])
    assert other.power == ()


def test_an_address_that_several_have_is_refused() -> None:
    listed = [
        HostDescription(name, Target("gate", None, port)) for name, port in (("a", 1), ("b", 2))
    ]
    with pytest.raises(ConfigurationError, match="fits several hosts there: a, b"):
        make_pool([parse_host("root@gate")], listed)
    assert make_pool([parse_host("gate:2")], listed)[0].name == "b"


def test_a_file_of_hosts_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_hosts(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_hosts(tmp_path / "hosts.toml")
