# SPDX-License-Identifier: MIT
"""Judges a victim's memory: pattern, frames, verdict, backlog and timings."""
