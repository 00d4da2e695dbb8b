# SPDX-License-Identifier: MIT
"""What is proven: pattern, frames, verdict, backlog and timings."""
