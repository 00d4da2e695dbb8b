# SPDX-License-Identifier: MIT
"""Which Xen runs on the host: its source, the variants of it, how it is built and booted."""
