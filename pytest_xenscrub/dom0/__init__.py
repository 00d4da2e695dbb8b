# SPDX-License-Identifier: MIT
"""Our eyes, hands and clock inside dom0: an agent that runs there, and its client here."""
