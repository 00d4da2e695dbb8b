# SPDX-License-Identifier: MIT
"""Fixtures of all unit tests."""

from faked_run import faked_host, project

__all__ = ["faked_host", "project"]
