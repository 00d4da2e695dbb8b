# SPDX-License-Identifier: MIT
"""What is told: records, the table at the end, JSON lines, JUnit properties."""
