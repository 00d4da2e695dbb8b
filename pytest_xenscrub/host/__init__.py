# SPDX-License-Identifier: MIT
"""A machine that runs Xen and how it is reached: over SSH, real or emulated."""
