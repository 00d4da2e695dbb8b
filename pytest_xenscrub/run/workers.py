# SPDX-License-Identifier: MIT
"""Gives each of pytest-xdist's workers a machine, and sends it tests that suit this machine.

pytest-xdist's main process collects no tests, and gets only the tests' ids from its workers. So
each worker writes what its tests need to a file.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xdist.workermanage import WorkerController

    from pytest_xenscrub.host.description import HostDescription

_AHEAD = 2
"""Tests that are sent to a worker ahead: a worker starts a test only once it knows the next one."""


class Needs:
    """What tests need of their host, passed from each worker to the main process in a file.

    Args:
        folder: a folder that both can reach. A worker on another machine cannot, and its tests
            count as needing nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tell(self, worker: str, needs: Mapping[str, frozenset[str]]) -> None:
        """Write what each test needs, by its id; a worker does that before it reports its tests."""
        with contextlib.suppress(OSError):
            told = {test: sorted(need) for test, need in needs.items()}
            self._file(worker).write_text(json.dumps(told))

    def told_by(self, worker: str) -> dict[str, frozenset[str]]:
        """Read what a worker has written."""
        try:
            told = json.loads(self._file(worker).read_text())
        except FileNotFoundError:
            return {}
        return {test: frozenset(need) for test, need in told.items()}

    def _file(self, worker: str) -> Path:
        return self._folder / f"{worker}.json"


class Allotment:
    """Which worker has which machine; a worker that replaces a dead one gets the same machine.

    Attributes:
        workers: number of workers.

    Args:
        pool: the machines.
        workers: number of workers.

    Raises:
        pytest.UsageError: there are more workers than machines.
    """

    def __init__(self, pool: Sequence[HostDescription], workers: int) -> None:
        if workers > len(pool):
            names = ", ".join(host.name for host in pool)
            raise pytest.UsageError(
                f"{workers} workers, and {len(pool)} host{'s' if len(pool) > 1 else ''} for them:"
                f" {names}\n  next: name more hosts, or say -n {len(pool)}"
            )
        self.workers = workers
        self._machines = tuple(pool[:workers])
        self._free = list(self._machines)
        self._has: dict[str, HostDescription] = {}

    def give(self, worker: str) -> HostDescription:
        """A machine for a worker that is about to start."""
        host = self._has[worker] = self._free.pop(0)
        return host

    def take_back(self, worker: str) -> None:
        """Take back the machine of a worker that has ended."""
        host = self._has.pop(worker, None)
        if host is not None:
            self._free.insert(0, host)

    def suits(self, worker: str, needs: frozenset[str]) -> bool:
        """Whether a test can go to a worker; any worker skips a test that suits no machine."""
        if not self._has[worker].lacks(needs):
            return True
        return all(machine.lacks(needs) for machine in self._machines)


class HostScheduling:
    """Sends each test to a worker whose machine suits it; implements xdist's scheduler interface.

    Args:
        allotment: which workers have which machines.
        needs: what the workers' tests need.
    """

    def __init__(self, allotment: Allotment, needs: Needs) -> None:
        self._allotment = allotment
        self._told = needs
        self._needs: dict[str, frozenset[str]] = {}
        self._collections: dict[WorkerController, Sequence[str]] = {}
        self._sent: dict[WorkerController, list[int]] = {}
        self._queue: list[int] = []
        self._ids: Sequence[str] | None = None

    @property
    def nodes(self) -> list[WorkerController]:
        """The workers."""
        return list(self._sent)

    @property
    def collection_is_completed(self) -> bool:
        """Whether every worker has reported its tests."""
        return len(self._collections) >= self._allotment.workers

    @property
    def tests_finished(self) -> bool:
        """Whether there is nothing left to send."""
        return (
            self.collection_is_completed
            and not self._queue
            and all(len(sent) < _AHEAD for sent in self._sent.values())
        )

    @property
    def has_pending(self) -> bool:
        """Whether tests are still to be run."""
        return bool(self._queue) or any(self._sent.values())

    def add_node(self, node: WorkerController) -> None:
        """Note that a worker is ready."""
        self._sent[node] = []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Note the tests that a worker has collected."""
        self._collections[node] = list(collection)
        self._needs.update(self._told.told_by(node.gateway.id))

    def schedule(self) -> None:
        """Send tests to all workers; xdist calls this again whenever a worker was added."""
        if self._ids is None:
            self._ids, *others = self._collections.values()
            if any(other != self._ids for other in others):
                raise pytest.UsageError("the workers collected different tests")
            self._queue = list(range(len(self._ids)))
        for node in self.nodes:
            self._feed(node)

    def _feed(self, node: WorkerController) -> None:
        """Keep a worker busy, or end it if no test is left for it."""
        if node.shutting_down or node not in self._collections:
            return
        room = _AHEAD - len(self._sent[node])
        if room <= 0:
            return
        fitting = [index for index in self._queue if self._suits(node, index)][:room]
        if fitting:
            self._queue = [index for index in self._queue if index not in fitting]
            self._sent[node] += fitting
            node.send_runtest_some(fitting)
        if not any(self._suits(node, index) for index in self._queue):
            node.shutdown()

    def _suits(self, node: WorkerController, index: int) -> bool:
        assert self._ids is not None  # noqa: S101 - indices are of it
        needs = self._needs.get(self._ids[index], frozenset())
        return self._allotment.suits(node.gateway.id, needs)

    def mark_test_complete(
        self, node: WorkerController, item_index: int, duration: float = 0
    ) -> None:
        """Note that a worker has run a test, and send it the next one."""
        self._sent[node].remove(item_index)
        self._feed(node)

    def mark_test_pending(self, item: str) -> None:
        """Not supported: xdist calls it only for schedulers that move tests between workers."""
        raise NotImplementedError

    def remove_pending_tests_from_node(
        self, node: WorkerController, indices: Sequence[int]
    ) -> None:
        """Not supported, as `mark_test_pending`."""
        raise NotImplementedError

    def remove_node(self, node: WorkerController) -> str | None:
        """Share out an ended worker's tests; gives the id of the test that it was running."""
        sent = self._sent.pop(node)
        if not sent:
            return None
        assert self._ids is not None  # noqa: S101 - something was sent
        self._queue = [*sent[1:], *self._queue]
        for other in self.nodes:
            self._feed(other)
        return self._ids[sent[0]]
