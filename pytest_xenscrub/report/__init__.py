# SPDX-License-Identifier: MIT
"""Reports: the tables, JSON lines, JUnit properties, charts, pages and the progress line."""
