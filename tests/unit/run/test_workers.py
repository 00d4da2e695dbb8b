# SPDX-License-Identifier: MIT
"""Which worker has which machine, and which tests it is sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.host.description import HostDescription
from pytest_xenscrub.host.target import Target
from pytest_xenscrub.run.workers import Allotment, HostScheduling, Needs

if TYPE_CHECKING:
    from pathlib import Path


def pool(*tags: str) -> list[HostDescription]:
    """A machine for each word, which is its tag."""
    return [
        HostDescription(f"lab{n}", Target(f"lab{n}"), tags=frozenset(tag.split()))
        for n, tag in enumerate(tags)
    ]


class Node:
    """A worker that notes what it is sent."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.sent: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def started(tests: list[str], *tags: str) -> tuple[HostScheduling, list[Any], Allotment]:
    """Tests that need a tag have it before their name: "numa:a"."""
    allotment = Allotment(pool(*tags), len(tags))
    told: Any = SimpleNamespace(
        told_by=lambda _: {test: frozenset(test.split(":")[:-1]) for test in tests}
    )
    scheduling = HostScheduling(allotment, told)
    nodes: list[Any] = [Node(f"gw{n}") for n in range(len(tags))]
    for node in nodes:
        allotment.give(node.gateway.id)
        scheduling.add_node(node)
    for node in nodes:
        assert not scheduling.collection_is_completed
        scheduling.add_node_collection(node, tests)
    scheduling.schedule()
    return scheduling, nodes, allotment


def finish(scheduling: HostScheduling, nodes: list[Any]) -> None:
    """Run all that was sent, in turn, until nothing more comes."""
    done: dict[Any, int] = dict.fromkeys(nodes, 0)
    while scheduling.has_pending:
        for node in nodes:
            if done[node] < len(node.sent):
                scheduling.mark_test_complete(node, node.sent[done[node]])
                done[node] += 1


def test_needs_are_told_by_each_worker(tmp_path: Path) -> None:
    needs = Needs(tmp_path)
    needs.tell("gw0", {"a": frozenset({"numa", "big"}), "b": frozenset()})
    assert needs.told_by("gw0") == {"a": {"big", "numa"}, "b": frozenset()}
    assert needs.told_by("gw1") == {}


def test_a_worker_that_cannot_tell_its_needs_goes_on(tmp_path: Path) -> None:
    needs = Needs(tmp_path / "elsewhere")
    needs.tell("gw0", {"a": frozenset({"numa"})})
    assert needs.told_by("gw0") == {}


def test_more_workers_than_machines_are_refused() -> None:
    with pytest.raises(pytest.UsageError, match=r"3 workers, and 2 hosts for them: lab0, lab1"):
        Allotment(pool("a", "b"), 3)


def test_who_takes_a_dead_workers_place_has_its_machine() -> None:
    allotment = Allotment(pool("a", "b", "c"), 2)
    assert [allotment.give(f"gw{n}").name for n in range(2)] == ["lab0", "lab1"]
    allotment.take_back("gw0")
    assert allotment.give("gw2").name == "lab0"


def test_tests_go_where_they_can_run() -> None:
    tests = ["a", "numa:b", "c", "d", "e", "f"]
    scheduling, nodes, _ = started(tests, "", "numa")
    finish(scheduling, nodes)
    assert sorted(nodes[0].sent + nodes[1].sent) == list(range(6))
    assert 1 in nodes[1].sent
    assert nodes[0].sent
    assert all(node.shutting_down for node in nodes)
    assert scheduling.tests_finished


def test_what_no_machine_suits_is_sent_to_some_worker_to_be_skipped() -> None:
    scheduling, nodes, _ = started(["sgx:a", "b"], "", "numa")
    finish(scheduling, nodes)
    assert sorted(nodes[0].sent + nodes[1].sent) == [0, 1]


def test_a_worker_with_nothing_to_do_ends_and_the_other_goes_on() -> None:
    tests = [f"numa:t{n}" for n in range(3)]
    scheduling, nodes, _ = started(tests, "", "numa")
    assert nodes[0].shutting_down
    finish(scheduling, nodes)
    assert nodes[1].sent == [0, 1, 2]


def test_a_dead_workers_tests_wait_for_the_one_that_has_its_machine_then() -> None:
    tests = [*(f"numa:t{n}" for n in range(3)), "u", "v", "w", "x"]
    scheduling, nodes, allotment = started(tests, "", "numa")
    allotment.take_back("gw1")
    assert scheduling.remove_node(nodes[1]) == tests[0]
    new: Any = Node("gw2")
    allotment.give("gw2")
    scheduling.add_node(new)
    scheduling.add_node_collection(new, tests)
    scheduling.schedule()
    finish(scheduling, [nodes[0], new])
    assert {1, 2} <= set(new.sent)
    assert 0 not in nodes[0].sent + new.sent
    assert scheduling.remove_node(new) is None


def test_workers_that_see_other_tests_are_refused(tmp_path: Path) -> None:
    allotment = Allotment(pool("", "numa"), 2)
    scheduling = HostScheduling(allotment, Needs(tmp_path))
    for n in range(2):
        node: Any = Node(f"gw{n}")
        allotment.give(node.gateway.id)
        scheduling.add_node(node)
        scheduling.add_node_collection(node, ["a", f"b{n}"])
    with pytest.raises(pytest.UsageError, match="different tests"):
        scheduling.schedule()
