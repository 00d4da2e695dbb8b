# SPDX-License-Identifier: MIT
"""How guests are driven: create, console, destroy, and what memory is free."""
