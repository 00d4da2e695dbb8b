# SPDX-License-Identifier: MIT
"""Results as one HTML page without scripts or other files, which needs no network."""

from pytest_xenscrub.report.page.page import Extras, to_html

__all__ = ["Extras", "to_html"]
