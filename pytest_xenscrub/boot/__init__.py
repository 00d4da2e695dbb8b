# SPDX-License-Identifier: MIT
"""Boots a built hypervisor on a machine, and the machine's own Xen again."""
