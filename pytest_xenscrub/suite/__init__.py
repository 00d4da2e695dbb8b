# SPDX-License-Identifier: MIT
"""The scenarios: each makes a claim about Xen and checks it on a real Xen.

Run as `pytest --pyargs pytest_xenscrub.suite`, in a checkout as `pytest tests/scrub` (a link to
this folder), or without any path in a folder that has no tests of its own.
"""
