# SPDX-License-Identifier: MIT
"""Results as other programs, and people elsewhere, read them."""
