# SPDX-License-Identifier: MIT
"""The types of guest that this project drives, by Xen's names."""

from __future__ import annotations

from typing import Literal, TypeAlias

GuestType: TypeAlias = Literal["pv", "pvh"]
