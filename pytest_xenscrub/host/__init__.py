# SPDX-License-Identifier: MIT
"""Hosts: machines that run Xen, real or emulated, reached over ssh."""
