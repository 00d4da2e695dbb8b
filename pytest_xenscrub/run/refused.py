# SPDX-License-Identifier: MIT
"""Explains failures that are not Xen's: the system refused something, the tool ended a host."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import XenScrubError
from pytest_xenscrub.run.stash import SESSION, uses_host
from pytest_xenscrub.system_errors import TODO, explained

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytest_xenscrub.errors import InfrastructureError

_PACKAGE = str(Path(__file__).parents[1])


class Refusals:
    """A pytest plugin that explains what the system refused, and why the tool ended a host.

    Only for tests with a host, and only for system errors that passed through this package.
    """

    def __init__(self) -> None:
        # A broken session fixture raises the same exception object in every test.
        self._told: dict[int, tuple[BaseException, InfrastructureError]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Explain errors while fixtures are set up."""
        with self._explaining(item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Explain errors while the test runs."""
        with self._explaining(item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Explain errors while fixtures are torn down."""
        with self._explaining(item):
            return (yield)

    @contextlib.contextmanager
    def _explaining(self, item: pytest.Item) -> Iterator[None]:
        try:
            yield
        except (OSError, MemoryError) as error:
            if not uses_host(item) or not _is_the_machines(error):
                raise
            raise self._explain(error) from None
        except XenScrubError as error:
            # The first symptom varies: a guest's console closes, or dom0 is silent.
            why = _why_ended(item)
            if why is None or why is error:
                raise
            raise why from None

    def _explain(self, error: OSError | MemoryError) -> InfrastructureError:
        if id(error) not in self._told:
            refused = error if isinstance(error, OSError) else OSError(errno.ENOMEM, "no memory")
            self._told[id(error)] = error, explained(refused, "this machine refused something")
        return self._told[id(error)][1]


def _why_ended(item: pytest.Item) -> InfrastructureError | None:
    """Why the tool ended the host of this test; None if it did not."""
    session = item.config.stash.get(SESSION, None)
    up = None if session is None or session.managed_host is None else session.managed_host.up
    outside = None if up is None else up.host.outside
    return None if outside is None else outside.why_ended()


def _is_the_machines(error: OSError | MemoryError) -> bool:
    """Whether this machine refused something to this package."""
    if isinstance(error, OSError) and error.errno not in TODO:
        return False
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(_PACKAGE) and file != __file__:
            return True
        trace = trace.tb_next
    return False
