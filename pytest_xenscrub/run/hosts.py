# SPDX-License-Identifier: MIT
"""The hosts of a run: lists them, chooses this process's host, and matches hosts with tests."""

from __future__ import annotations

import dataclasses
import functools
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host.description import left_out, make_pool
from pytest_xenscrub.run.reservation import Reservation
from pytest_xenscrub.run.stash import parameter, uses_host
from pytest_xenscrub.run.workers import Allotment, HostScheduling, Needs
from pytest_xenscrub.user import user_name

if TYPE_CHECKING:
    from typing import Any

    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.host.labgrid_place import LabgridPlace
    from pytest_xenscrub.options import Options
    from pytest_xenscrub.telling import Say

MARKER = "xen_host_tags"
_WORKER_HOST = "xenscrub_host"
_WORKER_NEEDS = "xenscrub_needs"
# Variables that hold the address of a CI job's page: GitLab, Jenkins.
_JOB_PAGES = ("CI_JOB_URL", "BUILD_URL")


class Hosts:
    """The hosts of a run.

    Args:
        config: pytest's.
        options: what the user asked for.
        tag: this run's.
        say: prints a line for the user.

    Raises:
        ConfigurationError: the options contradict each other.
    """

    def __init__(self, config: pytest.Config, options: Options, tag: str, say: Say) -> None:
        self._config = config
        self._options = options
        self._tag = tag
        self._say = say
        pool = make_pool([self._described(host) for host in options.host], options.hosts_file)
        if (options.power or options.serial) and (not pool or pool[0].emulated):
            raise ConfigurationError(
                "--xen-power and --xen-serial are for a machine of --xen-host=[user@]host[:port]"
            )
        self.pool = tuple(
            dataclasses.replace(
                host,
                power=host.power or options.power,
                serial=host.serial or options.serial,
            )
            for host in pool
        )
        mine = getattr(config, "workerinput", {}).get(_WORKER_HOST)
        self._candidates = [host for host in self.pool if mine in (None, host.name)]
        self.allotment = self._allot()
        # Workers tell what their tests need, but only if hosts differ.
        self._folder = (
            tempfile.TemporaryDirectory(prefix="xenscrub-needs-")
            if self.allotment is not None and self._differ and self._config.option.dist == "load"
            else None
        )

    def _described(self, host: HostDescription) -> HostDescription:
        """A host as a plugin describes it; unchanged if no plugin knows its name."""
        known: HostDescription | None = self._config.hook.pytest_xenscrub_host(
            config=self._config, name=host.name
        )
        return host if known is None else dataclasses.replace(known, name=host.name)

    # -- for this process -------------------------------------------------------------------------

    def header(self) -> str | None:
        """The line for pytest's header; None without hosts."""
        if not self.pool:
            return None
        names = ", ".join(host.name for host in self.pool)
        emulated = self.pool[0].emulated
        what = "a real Xen in QEMU on this machine" if emulated else "over ssh"
        out = "" if self._options.host else left_out(self._options.hosts_file)
        line = f"xen host{'s' if len(self.pool) > 1 else ''}: {names} ({what})"
        return f"{line}\nxen hosts out of use: {out}" if out else line

    @functools.cached_property
    def reservation(self) -> Reservation:
        """The reservation of this process's host."""
        from pytest_xenscrub.dom0.lock import Holder  # noqa: PLC0415 - only with a host

        pages = [os.environ[name] for name in _JOB_PAGES if name in os.environ]
        holder = Holder(
            tag=self._tag,
            owner=user_name(),
            machine=socket.gethostname(),
            since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
            purpose=pages[0] if pages else f"pytest in {self._config.rootpath}",
        )
        return Reservation(
            self._candidates,
            holder,
            config=self._options.ssh_config,
            wait_seconds=self._options.lock_wait,
            allow_busy=self._options.allow_busy,
            place_of=self._place_of,
            say=self._say,
        )

    def _place_of(self, host: HostDescription) -> LabgridPlace:
        from pytest_xenscrub.host.labgrid_place import LabgridPlace  # noqa: PLC0415 - as above

        return LabgridPlace(
            host,
            listed=self._options.hosts_file,
            program=self._options.labgrid_client,
            tag=self._tag,
            say=self._say,
        )

    def needs(self, item: pytest.Item) -> frozenset[str]:
        """Tags and the toolstack that a test's host must have."""
        tags = {str(tag) for mark in item.iter_markers(MARKER) for tag in mark.args}
        if "xen_toolstack" in getattr(item, "fixturenames", ()):
            tags.add(parameter(item, "xen_toolstack") or self._options.toolstack[0])
        return frozenset(tags)

    def prepare(self, items: list[pytest.Item]) -> None:
        """Put the host that suits most tests first, and skip tests that no host suits."""
        users = [item for item in items if uses_host(item)]
        needed = [self.needs(item) for item in users]
        self._candidates.sort(key=lambda host: sum(bool(host.lacks(each)) for each in needed))
        for item, needs in zip(users, needed, strict=True):
            reasons = [why_not(host, needs) for host in self._candidates]
            if reasons and all(reasons):
                item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))
        worker = getattr(self._config, "workerinput", {})
        if _WORKER_NEEDS in worker:
            told = {item.nodeid: needs for item, needs in zip(users, needed, strict=True)}
            Needs(Path(worker[_WORKER_NEEDS])).tell(worker["workerid"], told)

    def check(self, item: pytest.Item) -> None:
        """Check that this run still has the host; skip a test that the host does not suit."""
        self.reservation.check()
        if reason := why_not(self.reservation.get(), self.needs(item)):
            pytest.skip(reason)

    def close(self) -> None:
        """Release the host. Never raises; may be called twice."""
        if "reservation" in self.__dict__:
            self.reservation.release()
        if self._folder is not None:
            self._folder.cleanup()

    # -- for pytest-xdist's workers ---------------------------------------------------------------

    @property
    def _differ(self) -> bool:
        """Whether hosts differ, so that a test must go to a suitable one."""
        return len({(host.tags, host.toolstacks) for host in self.pool}) > 1

    def _allot(self) -> Allotment | None:
        """Share the hosts out among workers; emulated hosts are not shared."""
        specs = getattr(self._config.option, "tx", None)
        distributes = specs and getattr(self._config.option, "dist", "no") != "no"
        if not distributes or _is_worker(self._config) or not self.pool or self.pool[0].emulated:
            return None
        from xdist.workermanage import parse_tx_spec_config  # noqa: PLC0415 - it is there

        workers = len(parse_tx_spec_config(self._config))
        more = [host for host in self.pool if host.many] * workers
        return Allotment([*self.pool, *more], workers)

    def worker_starts(self, node: Any) -> None:
        """Give a worker its machine."""
        if self.allotment is not None:
            node.workerinput[_WORKER_HOST] = self.allotment.give(node.gateway.id).name
        if self._folder is not None:
            node.workerinput[_WORKER_NEEDS] = self._folder.name

    def worker_ended(self, node: Any) -> None:
        """Free the ended worker's machine for the worker that takes its place."""
        if self.allotment is not None:
            self.allotment.take_back(node.gateway.id)

    def scheduling(self) -> HostScheduling | None:
        """The scheduler for tests; None if any of xdist's own schedulers will do."""
        if self.allotment is None or self._folder is None:
            return None
        return HostScheduling(self.allotment, Needs(Path(self._folder.name)))


def why_not(host: HostDescription, needs: frozenset[str]) -> str:
    """Why a host does not suit a test; empty if it does."""
    lacking = host.lacks(needs)
    return f"{host.name} has no {', '.join(sorted(lacking))}" if lacking else ""


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
