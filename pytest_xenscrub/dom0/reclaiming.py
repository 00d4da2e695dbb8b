# SPDX-License-Identifier: MIT
"""Waits for the result of a watch: how a domain ended, and how its memory came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_xenscrub.dom0.answers import Reclaim, TimedResult
from pytest_xenscrub.dom0.patience import what_stands_still

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.patience import PatientConnection


class Teardown:
    """The teardown of a domain, watched by the agent."""

    def __init__(
        self,
        dom0: PatientConnection,
        argv: tuple[str, ...],
        answer: Future[Any],
        deadline: Deadline,
    ) -> None:
        self._dom0 = dom0
        self._argv = argv
        self._answer = answer
        self._deadline = deadline

    @property
    def done(self) -> bool:
        """Whether the watch has ended."""
        return self._answer.done()

    def result(self) -> Reclaim:
        """What the watch saw.

        Raises:
            CommandError: the command failed.
            XenHungError: nothing moved for too long, or the whole teardown took too long.
            UndecidedError: as `XenHungError`, but other work starved the host meanwhile.
        """
        answer = self._dom0._await(self._answer, self._deadline)
        command = answer["command"] and TimedResult(self._argv, **answer["command"])
        if command is not None and not command.hung:
            command.check()  # first, because nothing moves after a command that failed
        if still := answer["still"]:
            raise self._dom0.hung(f"{self._deadline.step}: {what_stands_still(still)}", still)
        if command is not None and command.hung:
            raise self._deadline.error(**self._dom0.evidence())
        return Reclaim(
            issued=answer["issued"], returned=answer["returned"], gone=answer["gone"],
            free=answer["free"], clean=answer["clean"], command=command,
            samples=[tuple(sample) for sample in answer["samples"]],
            backlog=[tuple(sample) for sample in answer["backlog"]],
        )  # fmt: skip
