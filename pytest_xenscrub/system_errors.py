# SPDX-License-Identifier: MIT
"""Explains errors of the operating system in a sentence, with advice."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

TODO = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room: your quota on that disk is used up",
    errno.EROFS: "use another folder: that file system is read-only",
    errno.EACCES: "check who owns it and its mode, or use another folder",
    errno.EPERM: "a container, or a security module, may forbid it",
    errno.ENOMEM: "close other programs, or raise the memory limit (ulimit -v, the container's)",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "this machine has too many files open: end other programs",
    errno.EAGAIN: "raise the limit on processes (ulimit -u, the container's pids limit)",
    errno.EIO: "look at the kernel's log: the disk may be failing",
    errno.ENAMETOOLONG: "use a shorter path",
}
"""Advice for errors that are this machine's fault; other errors may be a mistake in this
package."""


def explained(error: OSError, doing: str) -> InfrastructureError:
    """The error that explains what the system refused.

    Args:
        error: the system's error.
        doing: what failed: "the cache cannot be written".
    """
    return InfrastructureError(
        f"{doing}: {error.strerror or error}",
        tried=str(error.filename or ""),
        todo=TODO.get(error.errno or 0, ""),
    )


@contextlib.contextmanager
def told_as(doing: str) -> Iterator[None]:
    """Raise `InfrastructureError` for system errors in the with block.

    Args:
        doing: as for `explained`.
    """
    try:
        yield
    except OSError as error:
        raise explained(error, doing) from None
