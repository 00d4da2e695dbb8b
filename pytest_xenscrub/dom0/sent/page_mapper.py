# SPDX-License-Identifier: MIT
"""The page mapper: runs in dom0 and maps pages of another domain, as a backend or a debugger does.

It is sent over the SSH connection, as the agent is, and unmaps everything when that ends.

Line in:              Line out:
map DOMID MFN MFN...  ok
hash                  ok and the SHA-256 of all mapped pages
copy                  ok; the present content of the pages is copied to this program's memory
release               ok
Whatever fails:       error and why

Plain Python 3.6, because dom0 may be older than the machine that runs the tests.
"""

import ctypes
import hashlib
import mmap
import sys
from typing import Any, List, Optional

LIBRARY = "libxenforeignmemory.so.1"


def load_library() -> Any:
    """Xen's library for foreign mappings."""
    library = ctypes.CDLL(LIBRARY, use_errno=True)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.xenforeignmemory_open.restype = pointer
    library.xenforeignmemory_open.argtypes = [pointer, ctypes.c_uint]
    library.xenforeignmemory_map.restype = pointer
    library.xenforeignmemory_map.argtypes = [
        pointer, ctypes.c_uint32, ctypes.c_int, size, pointer, pointer
    ]  # fmt: skip
    library.xenforeignmemory_unmap.argtypes = [pointer, pointer, size]
    return library


class PageMapper:
    """Maps pages of one domain, read-only; has at most one mapping."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.handle = library.xenforeignmemory_open(None, 0)
        if not self.handle:
            raise OSError(ctypes.get_errno(), "xenforeignmemory_open")
        self.address: Optional[int] = None
        self.pages = 0
        self.copies: List[bytes] = []

    def map(self, domid: int, frames: List[int]) -> str:
        """Map frames; for a PV domain they are machine frames."""
        self.release()
        numbers = (ctypes.c_uint64 * len(frames))(*frames)
        errors = (ctypes.c_int * len(frames))()
        address = self.library.xenforeignmemory_map(
            self.handle, domid, mmap.PROT_READ, len(frames), numbers, errors
        )
        if not address:
            raise OSError(ctypes.get_errno(), "xenforeignmemory_map")
        self.address, self.pages = address, len(frames)
        failed = [error for error in errors if error]
        if failed:
            self.release()
            raise OSError(-failed[0], f"{len(failed)} pages cannot be mapped")
        return ""

    def content(self) -> bytes:
        """The present content of the mapped pages."""
        if self.address is None:
            raise LookupError("nothing is mapped")
        return ctypes.string_at(self.address, self.pages * mmap.PAGESIZE)

    def hash(self) -> str:
        """SHA-256 of the present content."""
        return hashlib.sha256(self.content()).hexdigest()

    def copy(self) -> str:
        """Copy the present content, and keep the copy."""
        self.copies.append(self.content())
        return ""

    def release(self) -> str:
        """Unmap them."""
        address, self.address = self.address, None
        if address is not None:
            self.library.xenforeignmemory_unmap(self.handle, address, self.pages)
        return ""

    def answer(self, line: str) -> str:
        """Answer a line with a line."""
        word, *numbers = line.split()
        try:
            if word == "map":
                said = self.map(int(numbers[0]), [int(number) for number in numbers[1:]])
            else:
                said = {"hash": self.hash, "copy": self.copy, "release": self.release}[word]()
        except Exception as error:
            return f"error {type(error).__name__}: {error}"
        return f"ok {said}".rstrip()


def main() -> None:
    """Serve until the connection closes."""
    try:
        mapper = PageMapper(load_library())
    except OSError as error:
        sys.stdout.write(f"error {error}\n")
        return
    for line in sys.stdin:
        sys.stdout.write(mapper.answer(line) + "\n")
        sys.stdout.flush()
    mapper.release()


if __name__ == "__main__":
    main()
