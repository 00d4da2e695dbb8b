# SPDX-License-Identifier: MIT
"""The tests of a run, the Xens that they run on, and what is built before any host is touched."""

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
    """What a run does.

    Args:
        session: the run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Repeat tests for each Xen, toolstack and type of guest, and --xen-repeat times."""
        if "xen_variant" in metafunc.fixturenames and self._session.options.compares:
            metafunc.parametrize(
                "xen_variant", self._xens_for(metafunc.definition), indirect=True, scope="session"
            )
        # In the order in which they were given, each once.
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
        """The Xens for a test; with --xen-control first the control, on which the test must fail.

        Only a failed assertion counts as that failure: a control on a broken host proves nothing.
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
            InfrastructureError: something that the run needs is missing on this machine.
        """
        wanted: dict[str, None] = {}
        for item in users:
            wanted[parameter(item, "xen_variant") or self._session.xens.names[0]] = None
        self._preflight(users, wanted)
        for name in wanted:
            # Errors other than the user's mistakes are raised again in the tests that need this
            # Xen.
            with contextlib.suppress(InfrastructureError):
                self._session.xens.get(name)

    def _preflight(self, users: list[pytest.Item], variants: Iterable[str]) -> None:
        """Check that all programs are there; under pytest-xdist only in the main process."""
        if hasattr(self._session.config, "workerinput"):
            return
        options = self._session.options
        toolstacks = {parameter(item, "xen_toolstack") or options.toolstack[0] for item in users}
        if getattr(self._session.config.option, "tx", None):
            # pytest-xdist's main process collects no tests.
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
