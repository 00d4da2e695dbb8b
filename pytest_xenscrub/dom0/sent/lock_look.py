# SPDX-License-Identifier: MIT
"""Reads who has the machine, without touching the lock.

The kernel's list of locks tells whether a lock is held. Trying the lock instead would make a run
that starts just then find the machine in use.

Arguments:  the lock's file; s after a boot for which the machine still belongs to the earlier run
Line out:   {"in_use": true or false, "who": the content of the file, or null}

Plain Python 3.6, because dom0 may be older than the machine that looks.
"""

import json
import os
import sys
from typing import Any, Dict, Optional

BOOT_ID = "/proc/sys/kernel/random/boot_id"
UPTIME = "/proc/uptime"
LOCKS = "/proc/locks"


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def is_listed(pid: object = None, inode: Optional[int] = None) -> bool:
    """Whether this process, or any process on this file, holds a lock of flock."""
    for line in read(LOCKS).splitlines():
        # "1: FLOCK ADVISORY WRITE 812 fe:01:4711 0 EOF": process 812, file 4711
        _, kind, _, _, owner, file, *_ = line.replace("->", "").split()
        if kind == "FLOCK" and (owner == str(pid) or file.split(":")[-1] == str(inode)):
            return True
    return False


def look(path: str, grace: float) -> Dict[str, Any]:
    try:
        text = read(path)
    except FileNotFoundError:
        return {"in_use": False, "who": None}
    who: Optional[Dict[str, Any]] = None
    try:
        found = json.loads(text)
        who = found if isinstance(found, dict) else None
    except ValueError:
        pass
    if who is None:
        # The file is being written, or its writer has died.
        return {"in_use": is_listed(inode=os.stat(path).st_ino), "who": None}
    if who.get("boot") == read(BOOT_ID).strip():
        return {"in_use": is_listed(pid=who.get("pid")), "who": who}
    rebooting = float(read(UPTIME).split()[0]) < grace
    return {"in_use": rebooting, "who": dict(who, rebooting=rebooting)}


def main() -> None:
    print(json.dumps(look(sys.argv[1], float(sys.argv[2]))))


if __name__ == "__main__":
    main()
