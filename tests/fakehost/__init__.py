# SPDX-License-Identifier: MIT
"""A lab machine with no Xen: a real sshd, and what dom0, Xen and GRUB would say, faked.

Everything that a run does to it goes over real ssh, and is seen by nobody else on this machine.
"""
