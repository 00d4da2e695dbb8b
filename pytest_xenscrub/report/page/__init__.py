# SPDX-License-Identifier: MIT
"""Results as one HTML page that needs nothing else: no script, no network."""

from pytest_xenscrub.report.page.page import to_html

__all__ = ["to_html"]
