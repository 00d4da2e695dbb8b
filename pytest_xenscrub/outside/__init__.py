# SPDX-License-Identifier: MIT
"""Reads an emulated host's RAM from outside, without asking Xen or a guest."""
