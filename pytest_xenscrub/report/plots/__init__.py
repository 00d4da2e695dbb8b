# SPDX-License-Identifier: MIT
"""Charts of a run, each as PNG and SVG; `draw` makes all charts that have data."""

from pytest_xenscrub.report.plots.draw import draw

__all__ = ["draw"]
