# SPDX-License-Identifier: MIT
"""Prove on a real Xen that a destroyed guest's memory is zeroed, and measure what that costs.

What tests annotate with, and what hooks take and return, is here; `pytest_xenscrub.hookspec` has
the hooks, `pytest --fixtures` the fixtures, `pytest_xenscrub.testing` an emulated lab machine for
tests of what drives one. All else may change without notice. A name is loaded when it is first
asked for: pytest loads this package in every run, with Xen or without.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pytest_xenscrub.boot.deploy import Deployment as Deployment
    from pytest_xenscrub.deadline import Deadline as Deadline
    from pytest_xenscrub.dom0.client import Dom0 as Dom0
    from pytest_xenscrub.dom0.hotplug import Hotplug as Hotplug
    from pytest_xenscrub.errors import CommandError as CommandError
    from pytest_xenscrub.errors import ConfigurationError as ConfigurationError
    from pytest_xenscrub.errors import DeadlineExceededError as DeadlineExceededError
    from pytest_xenscrub.errors import DisagreementError as DisagreementError
    from pytest_xenscrub.errors import Fault as Fault
    from pytest_xenscrub.errors import GuestFailedError as GuestFailedError
    from pytest_xenscrub.errors import GuestProtocolError as GuestProtocolError
    from pytest_xenscrub.errors import HostBusyError as HostBusyError
    from pytest_xenscrub.errors import HostLockedError as HostLockedError
    from pytest_xenscrub.errors import HostSilentError as HostSilentError
    from pytest_xenscrub.errors import HostStalledError as HostStalledError
    from pytest_xenscrub.errors import HostUnusableError as HostUnusableError
    from pytest_xenscrub.errors import InfrastructureError as InfrastructureError
    from pytest_xenscrub.errors import MissingToolError as MissingToolError
    from pytest_xenscrub.errors import NotApplicableError as NotApplicableError
    from pytest_xenscrub.errors import ResidueError as ResidueError
    from pytest_xenscrub.errors import UndecidedError as UndecidedError
    from pytest_xenscrub.errors import XenFaultError as XenFaultError
    from pytest_xenscrub.errors import XenHungError as XenHungError
    from pytest_xenscrub.errors import XenScrubError as XenScrubError
    from pytest_xenscrub.guest.factory import GuestFactory as GuestFactory
    from pytest_xenscrub.guest.guest import Ended as Ended
    from pytest_xenscrub.guest.guest import Guest as Guest
    from pytest_xenscrub.host.description import HostDescription as HostDescription
    from pytest_xenscrub.host.protocol import CommandResult as CommandResult
    from pytest_xenscrub.host.protocol import Host as Host
    from pytest_xenscrub.host.ssh import SshHost as SshHost
    from pytest_xenscrub.host.target import Target as Target
    from pytest_xenscrub.hypervisor.artefact import Artefact as Artefact
    from pytest_xenscrub.hypervisor.choice import ChosenXen as ChosenXen
    from pytest_xenscrub.outside.oracle import Oracle as Oracle
    from pytest_xenscrub.run.managed_host import RunningXen as RunningXen
    from pytest_xenscrub.scrub.probe import Probe as Probe
    from pytest_xenscrub.scrub.row import Row as Row
    from pytest_xenscrub.scrub.row import Setting as Setting
    from pytest_xenscrub.scrub.timing import Timings as Timings
    from pytest_xenscrub.scrub.verdict import Verdict as Verdict
    from pytest_xenscrub.scrub.victim import Victim as Victim
    from pytest_xenscrub.toolstack.protocol import DomainConfig as DomainConfig
    from pytest_xenscrub.toolstack.protocol import Toolstack as Toolstack
else:
    _HOMES = {
        "deadline": "Deadline",
        "dom0.client": "Dom0",
        "dom0.hotplug": "Hotplug",
        "errors": "CommandError ConfigurationError DeadlineExceededError DisagreementError Fault"
        " GuestFailedError GuestProtocolError HostBusyError HostLockedError HostSilentError"
        " HostStalledError HostUnusableError InfrastructureError MissingToolError"
        " NotApplicableError ResidueError UndecidedError XenFaultError XenHungError XenScrubError",
        "guest.factory": "GuestFactory",
        "guest.guest": "Ended Guest",
        "host.description": "HostDescription",
        "host.protocol": "CommandResult Host",
        "host.ssh": "SshHost",
        "host.target": "Target",
        "hypervisor.artefact": "Artefact",
        "hypervisor.choice": "ChosenXen",
        "boot.deploy": "Deployment",
        "outside.oracle": "Oracle",
        "run.managed_host": "RunningXen",
        "scrub.probe": "Probe",
        "scrub.row": "Row Setting",
        "scrub.timing": "Timings",
        "scrub.verdict": "Verdict",
        "scrub.victim": "Victim",
        "toolstack.protocol": "DomainConfig Toolstack",
    }
    _HOME = {name: home for home, names in _HOMES.items() for name in names.split()}
    __all__ = ["__version__", *_HOME]  # noqa: PLE0604 - they are strings

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = importlib.import_module(f"{__name__}.{_HOME[name]}")
        globals()[name] = getattr(home, name)  # found without this function from now on
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted([*globals(), *_HOME])
