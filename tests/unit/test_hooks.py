# SPDX-License-Identifier: MIT
"""A conftest.py that uses the plugin's hooks; the hosts are faked."""

from __future__ import annotations

import json
import os

import pytest

from faked_run import CONFTEST, MEASURES
from pytest_xenscrub.run import preflight

HOSTS = """
from pytest_xenscrub import ConfigurationError, HostDescription, Target

def pytest_xenscrub_host(name):
    if name == "gone":
        raise ConfigurationError("gone: the lab's inventory says that it is scrapped")
    if name == "rack7":
        return HostDescription("whatever", Target("10.0.0.7"), tags=frozenset({"numa"}))
"""
KNOWN = """
from pytest_xenscrub.run.stash import SESSION

def test_it(request):
    hosts = request.config.stash[SESSION].hosts.pool
    print([(host.name, str(host.target), sorted(host.tags)) for host in hosts])
"""
BOOTS = """
import pytest

from pytest_xenscrub import InfrastructureError

class ByNetwork:
    defers = None

    def __init__(self, host, xen):
        self.what = f"{xen.name} on {host.name}"

    def start(self):
        raise InfrastructureError(f"{self.what}: the boot server is down")

    def stop(self, *, broken):
        print(f"stopped, broken={broken}")

def pytest_xenscrub_deployment(host, xen, lock):
    assert callable(lock)
    return ByNetwork(host, xen)

@pytest.fixture(scope="session")
def _guest_kernel():
    return None
"""
ROWS = """
from pathlib import Path

def pytest_xenscrub_row(config, row):
    kept = Path("results.jsonl").read_text().splitlines()
    with Path("rows").open("a") as file:
        file.write(f"{row.destroy} {len(kept)}" + chr(10))
"""


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PYTEST_"):
            monkeypatch.delenv(name)
    # No host is started, so what would start one may be missing.
    monkeypatch.setattr(preflight, "_lacking", lambda *_: ({}, ""))


def test_hosts_from_elsewhere(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(HOSTS)
    pytester.makepyfile(KNOWN)
    result = pytester.runpytest_inprocess("--xen-host=rack7", "--xen-host=root@lab8:2222", "-s")
    result.stdout.fnmatch_lines(["xen hosts: rack7, root@lab8:2222 (over ssh)"])
    line = "[('rack7', '10.0.0.7', ['numa']), ('root@lab8:2222', 'root@lab8:2222', [])]"
    assert line in result.stdout.str()


def test_a_file_of_hosts_comes_before_what_a_hook_says(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(HOSTS)
    pytester.makepyfile(KNOWN)
    pytester.path.joinpath("labs.toml").write_text('[hosts.rack7]\naddress = "10.0.0.8"\n')
    result = pytester.runpytest_inprocess("--xen-host=rack7", "--xen-hosts-file=labs.toml", "-s")
    assert "[('rack7', '10.0.0.8', [])]" in result.stdout.str()


def test_a_host_that_a_hook_refuses_ends_the_run(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(HOSTS)
    result = pytester.runpytest_inprocess("--xen-host=gone")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: gone: the lab's inventory says that it is scrapped"])


def test_a_way_to_boot_of_ones_own(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(BOOTS)
    pytester.makepyfile("def test_it(xen_host): pass")
    result = pytester.runpytest_inprocess("--xen-host=emulated", "-rA")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*as-is on emulated: the boot server is down*"])
    result.stdout.fnmatch_lines(["stopped, broken=*"])


def test_rows_as_they_are_measured(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST + ROWS)
    pytester.makepyfile(MEASURES)
    result = pytester.runpytest_inprocess("--xen-host=emulated", "--xen-results=results.jsonl")
    result.assert_outcomes(passed=1)
    seen = [line.split() for line in (pytester.path / "rows").read_text().splitlines()]
    lines = (pytester.path / "results.jsonl").read_text().splitlines()
    # Each was in the file before the hook of the conftest was called.
    assert seen == [["1.25", str(number)] for number in range(1, len(seen) + 1)]
    rows = [row for row in map(json.loads, lines) if "destroy" in row]
    assert {row["destroy"] for row in rows} == {1.25}


def test_a_hook_of_ours_that_does_not_exist(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_xenscrub_rows(row): pass")
    result = pytester.runpytest_inprocess()
    assert "unknown hook 'pytest_xenscrub_rows'" in result.stdout.str() + result.stderr.str()
