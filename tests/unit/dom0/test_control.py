# SPDX-License-Identifier: MIT
"""What Xen is asked for a domain, and what its answers are taken for."""

from __future__ import annotations

import ctypes
import errno
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0 import control as control_module
from pytest_xenscrub.dom0.control import DOM0, Control
from pytest_xenscrub.dom0.sent import control as sent
from pytest_xenscrub.errors import InfrastructureError, UndecidedError, XenHungError
from pytest_xenscrub.host.protocol import CommandResult

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeLibrary:
    """Xen's control library: domain 5 is dying, and there is no domain 9."""

    def __init__(self) -> None:
        self.handle: int | None = 42
        self.asked: list[tuple[Any, ...]] = []
        self.error = 0

    def xc_interface_open(self, *_: object) -> int | None:
        return self.handle

    def _answer(self, what: str, domid: int, number: int) -> int:
        self.asked.append((what, domid, number))
        error = self.error or {5: errno.EINVAL, 9: errno.ESRCH}.get(domid, 0)
        ctypes.set_errno(error)
        return -1 if error else 0

    def xc_domain_claim_pages(self, handle: int, domid: int, pages: int) -> int:
        assert handle == self.handle
        return self._answer("claim", domid, pages)

    def xc_domain_set_virq_handler(self, handle: int, domid: int, virq: int) -> int:
        assert handle == self.handle
        return self._answer("virq", domid, virq)


@pytest.mark.parametrize("what", ["claim", "virq"])
def test_xen_agrees_or_does_not(what: str) -> None:
    library = FakeLibrary()
    assert [sent.ask(library, what, domid, 4) for domid in (0, 3, 5, 9)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert library.asked == [(what, domid, 4) for domid in (0, 3, 5, 9)]


@pytest.mark.parametrize("error", [errno.ENOMEM, errno.EPERM, errno.ENOSYS])
def test_whatever_else_fails_is_no_refusal(error: int) -> None:
    """Nobody may take it for a Xen that knows better than to do that."""
    library = FakeLibrary()
    library.error = error
    with pytest.raises(OSError, match="claim_pages") as caught:
        sent.ask(library, "claim", 5, 300)
    assert caught.value.errno == error


def test_a_library_that_does_not_open() -> None:
    library = FakeLibrary()
    library.handle = None
    with pytest.raises(OSError, match="xc_interface_open"):
        sent.ask(library, "virq", 5, 4)


# -- this side -------------------------------------------------------------------------------------


def asking(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[..., CommandResult], starved: float = 0.0
) -> Control:
    monkeypatch.setattr(control_module, "run_program", answer)
    dom0: Any = SimpleNamespace(
        host=SimpleNamespace(name="lab7"),
        patience=lambda step: Deadline(step, 60.0, 0.0, lambda: starved),
    )
    return Control(dom0)


@pytest.mark.parametrize(("said", "agreed"), [("true\n", True), ("false\n", False)])
def test_its_answer_is_xens(said: str, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(
        _host: object, *what: str, deadline: Deadline, parts: tuple[str, ...]
    ) -> CommandResult:
        assert deadline.blames_xen
        assert parts == ("bindings",)
        asked.append(what)
        return CommandResult((), 0, said, "")

    control = asking(monkeypatch, answer)
    assert control.claim(5, 300) is agreed
    assert control.handle_virq(DOM0, 4) is agreed
    assert asked == [("control", "claim", "5", "300"), ("control", "virq", "0", "4")]


def test_a_dom0_that_cannot_ask_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    control = asking(monkeypatch, lambda *_, **__: CommandResult((), 1, "", "ImportError: xen"))
    with pytest.raises(InfrastructureError, match="claim of domain 5") as caught:
        control.claim(5, 300)
    assert "ImportError: xen" in str(caught.value)


@pytest.mark.parametrize(("starved", "kind"), [(0.0, XenHungError), (1e9, UndecidedError)])
def test_a_xen_that_does_not_answer(
    starved: float, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object, deadline: Deadline, **__: object) -> CommandResult:
        raise deadline.error()

    with pytest.raises(kind, match="virq of domain 5"):
        asking(monkeypatch, answer, starved).handle_virq(5, 4)
