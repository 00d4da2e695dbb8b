# SPDX-License-Identifier: MIT
"""What is seen of a host from outside: its RAM, read by us, with no word of Xen's or a guest's."""
