# SPDX-License-Identifier: MIT
"""The guest: a tiny kernel that fills or scans all of its memory, and its console protocol."""
