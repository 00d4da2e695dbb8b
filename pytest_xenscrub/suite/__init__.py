# SPDX-License-Identifier: MIT
"""The scenarios: what is claimed of Xen, each claim on a real one.

Run as `pytest --pyargs pytest_xenscrub.suite`, in a checkout as `pytest tests/scrub` (a link to
this folder), or without any path in a folder that has no tests of its own.
"""
