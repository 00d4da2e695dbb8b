# SPDX-License-Identifier: MIT
"""Reads a patch, mail or series, finds its files in a tree, and applies all of it or refuses it."""
