# SPDX-License-Identifier: MIT
"""A run, from its first host to its exit status: session, hosts, and whose fault a failure is."""
