# SPDX-License-Identifier: MIT
"""From source to artefact, on this machine: Xen's source, its variants, and how they are built."""
