# SPDX-License-Identifier: MIT
"""A patch, mail or series: all of it is read, placed in a tree and applied, or refused."""
