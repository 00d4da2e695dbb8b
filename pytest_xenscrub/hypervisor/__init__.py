# SPDX-License-Identifier: MIT
"""Builds hypervisors on this machine: Xen's source, its variants, and how they are built."""
