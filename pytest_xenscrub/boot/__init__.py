# SPDX-License-Identifier: MIT
"""From a hypervisor and a machine to a machine that runs it, and back to the machine's own Xen."""
