# SPDX-License-Identifier: MIT
"""Results in the formats of other programs, and for people elsewhere."""
