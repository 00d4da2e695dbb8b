# SPDX-License-Identifier: MIT
"""A machine with Debian 12, two kernels and Xen, as it told of itself.

`grub/debian12.cfg` is what its grub-mkconfig (2.06-13+deb12u2) wrote, with a separate entry for
each kernel, the recovery ones too.
"""

from __future__ import annotations

from pathlib import Path

CONFIG = (Path(__file__).parent / "grub" / "debian12.cfg").read_text()
UUID = "2f1f0a4e-8a3c-4c1e-9d0b-5d7e3a6f9b21"
DOM0 = f"placeholder root=UUID={UUID} ro console=hvc0 quiet"
XEN = "placeholder dom0_mem=4096M,max:4096M console=com1 com1=115200,8n1"
OWN = "0" * 40
"""Build id of its Xen."""
