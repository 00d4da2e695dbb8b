# SPDX-License-Identifier: MIT
"""The agent that runs in dom0, and its client on this machine."""
