# SPDX-License-Identifier: MIT
"""Builds hypervisors on this machine: gets Xen's source, applies variants, compiles."""
