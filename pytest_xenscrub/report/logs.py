# SPDX-License-Identifier: MIT
"""`--xen-logs`: writes the output of hosts and guests to files, and names the files in JUnit.

FOLDER/<host>/serial.log, xen.log      at the end of a host's use
FOLDER/<test>/<guest>.console          as it comes
FOLDER/<test>/serial.log, xen.log      of a test that failed
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from _pytest.junitxml import xml_key

from pytest_xenscrub.errors import XenScrubError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.telling import Say

_LINES = 20000
_LONGEST_NAME = 150


class Logs:
    """The folder of the logs; does nothing without one.

    Args:
        folder: the folder; None for no logs.
        say: prints a line for the user.
    """

    def __init__(self, folder: Path | None, say: Say = lambda _: None) -> None:
        self._folder = folder
        self._say = say

    def begin(self, test: str) -> None:
        """Begin a test: remove its files of an earlier run."""
        if self._folder is not None:
            shutil.rmtree(self._folder / file_name(test), ignore_errors=True)

    def console(self, test: str, guest: str, data: bytes) -> None:
        """Write console output of a test's guest."""
        if self._folder is not None:
            self._append(file_name(test), f"{guest}.console", data)

    def failed(self, test: str, dom0: Dom0, *, answers: bool) -> None:
        """Write the logs of a test's host after a failure; the host may no longer answer."""
        self._logs(file_name(test), dom0, answers=answers)

    def ended(self, dom0: Dom0) -> None:
        """Write the logs of a host that is no longer used."""
        self._logs(file_name(dom0.host.name), dom0, answers=dom0.alive)

    def _logs(self, name: str, dom0: Dom0, *, answers: bool) -> None:
        if self._folder is None:
            return
        self._append(name, "serial.log", dom0.host.serial_tail(_LINES).encode())
        # A host that breaks now cannot give Xen's log; the cause is reported elsewhere.
        with contextlib.suppress(XenScrubError):
            self._append(name, "xen.log", dom0.xen_log(_LINES).encode() if answers else b"")

    def _append(self, name: str, file: str, data: bytes) -> None:
        if self._folder is None or not data:
            return
        path = self._folder / name / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as log:
                log.write(data)
        except OSError as error:
            # No verdict needs these logs; what was written so far is kept.
            self._say(f"--xen-logs: no more logs are written: {error.strerror}: {path}")
            self._folder = None

    def attach(self, config: pytest.Config, report: pytest.TestReport) -> None:
        """Name a test's files in its JUnit record, where Jenkins and GitLab look for them.

        Paths are relative to the folder in which pytest was started, such as a CI job's, if they
        are in it.
        """
        xml = config.stash.get(xml_key, None)
        if self._folder is None or xml is None or report.when != "teardown":
            return
        folder = self._folder / file_name(report.nodeid)
        top = config.invocation_params.dir
        files = [path.relative_to(top) if path.is_relative_to(top) else path
                 for path in sorted(folder.glob("*"))]  # fmt: skip
        if files:
            element = ET.Element("system-out")
            element.text = "\n".join(f"[[ATTACHMENT|{path}]]" for path in files)
            xml.node_reporter(report).append(element)


def add_suite_property(config: pytest.Config, name: str, value: object) -> None:
    """Add a property of the whole run to JUnit, if JUnit is written."""
    if (xml := config.stash.get(xml_key, None)) is not None:
        xml.add_global_property(name, value)


def file_name(text: str) -> str:
    """A file name for a test's id or a host's name; different names give different file names."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("_.")
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{name[:_LONGEST_NAME]}-{digest}"
    return name
