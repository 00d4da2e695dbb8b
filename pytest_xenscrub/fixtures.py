# SPDX-License-Identifier: MIT
"""What a test is handed: fixtures, and nothing else."""
