# SPDX-License-Identifier: MIT
"""The suite proper: what is claimed of Xen, each claim on a real one."""
