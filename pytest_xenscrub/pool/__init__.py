# SPDX-License-Identifier: MIT
"""The machines that runs share: which one is whose, which tests suit it, what dead runs left."""
