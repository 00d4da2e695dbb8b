# SPDX-License-Identifier: MIT
"""Which tests a run has, on which Xens, and what is built for them before any host is touched."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.options import asked_for_xen
from pytest_xenscrub.run.stash import parameter
from pytest_xenscrub.system_errors import told_as

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _pytest.mark import ParameterSet

    from pytest_xenscrub.run.session import Session

CONTROL = "noscrub"
CONTROL_ID = "control"
MUST_FAIL = "must fail: this Xen does not scrub"


class Plan:
    """What a run is to do.

    Args:
        session: the run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Run tests on each Xen, with each toolstack and type of guest, as often as asked for."""
        if "xen_variant" in metafunc.fixturenames and self._session.options.compares:
            metafunc.parametrize(
                "xen_variant", self._xens_for(metafunc.definition), indirect=True, scope="session"
            )
        # In whatever order they were given, each once.
        toolstacks = dict.fromkeys(self._session.options.toolstack)
        if "xen_toolstack" in metafunc.fixturenames and len(toolstacks) > 1:
            metafunc.parametrize("xen_toolstack", toolstacks, indirect=True)
        types = dict.fromkeys(self._session.options.guest_type)
        if "xen_guest_type" in metafunc.fixturenames and len(types) > 1:
            metafunc.parametrize("xen_guest_type", types, indirect=True)
        count = self._session.options.repeat
        if count > 1 and "xen_repeat" in metafunc.fixturenames:
            ids = [f"repeat{number}" for number in range(1, count + 1)]
            metafunc.parametrize("xen_repeat", range(1, count + 1), indirect=True, ids=ids)

    def _xens_for(self, definition: pytest.Item) -> list[ParameterSet]:
        """The Xens that a test is for, the control first: there a test must fail, or be left out.

        Only a failed assertion counts: a control whose host broke has proven nothing.
        """
        xens = [pytest.param(name, id=name) for name in self._session.xens.names]
        if self._session.options.control and definition.get_closest_marker("control") is not None:
            must_fail = pytest.mark.xfail(reason=MUST_FAIL, raises=AssertionError, strict=True)
            xens.insert(0, pytest.param(CONTROL, id=CONTROL_ID, marks=must_fail))
        return xens

    def build(self, users: list[pytest.Item]) -> None:
        """Build what tests with a host need, before any host is touched.

        Raises:
            ConfigurationError: a variant does not apply, or does not compile.
            InfrastructureError: what the run asks for cannot be had on this machine.
        """
        wanted: dict[str, None] = {}
        for item in users:
            wanted[parameter(item, "xen_variant") or self._session.xens.names[0]] = None
        self._preflight(users, wanted)
        for name in wanted:
            # Anything else than a mistake of the user's is told by the tests that need it.
            with contextlib.suppress(InfrastructureError):
                self._session.xens.get(name)

    def _preflight(self, users: list[pytest.Item], variants: Iterable[str]) -> None:
        """Check that all programs are there; under pytest-xdist only in the main process."""
        if hasattr(self._session.config, "workerinput"):
            return
        options = self._session.options
        toolstacks = {parameter(item, "xen_toolstack") or options.toolstack[0] for item in users}
        if getattr(self._session.config.option, "tx", None):
            # It has no tests of its own to look at.
            if not asked_for_xen(self._session.config):
                return
            toolstacks, variants = set(options.toolstack), self._session.xens.variants
        elif not users:
            return
        from pytest_xenscrub.run import preflight  # noqa: PLC0415 - only with a host

        pool = self._session.hosts.pool
        suite = options.suite if pool[0].emulated else ""
        labgrid = options.labgrid_client if any(host.place for host in pool) else ""
        asked = preflight.Wanted(suite, variants, toolstacks, "hvm" in options.guest_type, labgrid)
        try:
            with told_as("this machine cannot be looked at"):
                preflight.check(asked, self._session.xens)
        except InfrastructureError:
            self._session.blame.refused = True
            raise
