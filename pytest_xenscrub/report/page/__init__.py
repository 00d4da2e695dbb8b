# SPDX-License-Identifier: MIT
"""Results as one HTML page that needs nothing else: no script, no network."""

from pytest_xenscrub.report.page.page import Extras, to_html

__all__ = ["Extras", "to_html"]
