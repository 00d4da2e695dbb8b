# SPDX-License-Identifier: MIT
"""Prove on a real Xen that a destroyed guest's memory is zeroed, and measure what that costs."""

__version__ = "0.1.0"
