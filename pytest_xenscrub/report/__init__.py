# SPDX-License-Identifier: MIT
"""What comes out: the table, JSON lines, JUnit properties, and the line that shows progress."""
