# SPDX-License-Identifier: MIT
"""Drives guests with xl or libvirt: create, console, destroy, save, migrate."""
