# SPDX-License-Identifier: MIT
"""labgrid for tests: a program that answers as the real one, and the real one on loopback.

`contract` has the tests that both must pass.
"""
