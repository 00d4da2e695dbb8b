# SPDX-License-Identifier: MIT
"""Machines for tests of what runs on machines."""
