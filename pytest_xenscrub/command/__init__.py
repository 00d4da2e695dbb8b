# SPDX-License-Identifier: MIT
"""`xenscrub`, the command beside pytest."""
