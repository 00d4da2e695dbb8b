# SPDX-License-Identifier: MIT
"""Programs that are sent to dom0 and run there, under dom0's Python 3 (3.6 or later)."""
