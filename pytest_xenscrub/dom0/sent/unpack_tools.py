# SPDX-License-Identifier: MIT
"""Unpacks built tools: runs in dom0, prints nothing if it succeeds, and ends.

Arguments:  the tools' prefix, and the tarball, which is removed
Whatever fails goes to stderr, and ends it. Tools that cannot run in this dom0 are removed again.

Written in Python and not in shell, because processes start slowly in an emulated dom0.

Plain Python 3.6, because dom0 may be older than the machine that runs the tests.
"""

import ctypes
import glob
import os
import shutil
import sys
import tarfile


def unpack(prefix: str, tarball: str) -> None:
    """Unpack the tarball to the prefix, which exists only once it is complete."""
    new = "{}.{}".format(prefix, os.getpid())
    try:
        with tarfile.open(tarball) as tar:
            tar.extractall(new)  # noqa: S202 - the tarball is of our own making
        os.rename(new + prefix, prefix)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        os.unlink(tarball)


def check(prefix: str) -> None:
    """Load all libraries, so that a missing or old one shows here, and not during a test."""
    try:
        for library in sorted(glob.glob(prefix + "/lib/*.so.*")):
            ctypes.CDLL(library)
        sys.path.insert(0, prefix + "/lib/python")
        import xen.lowlevel.xc  # type: ignore[import-not-found]  # noqa: F401
    except (ImportError, OSError) as error:
        shutil.rmtree(prefix)
        name = type(error).__name__
        sys.exit("{}: Python {}.{}: {}".format(name, *sys.version_info[:2], error))


def main() -> None:
    """Unpack and check."""
    prefix, tarball = sys.argv[1:]
    unpack(prefix, tarball)
    check(prefix)


if __name__ == "__main__":
    main()
