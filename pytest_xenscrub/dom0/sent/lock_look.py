# SPDX-License-Identifier: MIT
"""Tells who has the machine, for one who only looks: the lock is not touched.

The kernel's list of locks says whether a lock is held. To try it would make a run that comes just
then find the machine in use.

Arguments:  the lock's file; for how many s after a boot a machine is still that run's
Line out:   {"in_use": true or false, "who": what the file says, or null}

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
    """Whether there is a lock of flock's that this process has, or that is of this file."""
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
        # It is just being written, or whoever did is gone.
        return {"in_use": is_listed(inode=os.stat(path).st_ino), "who": None}
    if who.get("boot") == read(BOOT_ID).strip():
        return {"in_use": is_listed(pid=who.get("pid")), "who": who}
    rebooting = float(read(UPTIME).split()[0]) < grace
    return {"in_use": rebooting, "who": dict(who, rebooting=rebooting)}


def main() -> None:
    print(json.dumps(look(sys.argv[1], float(sys.argv[2]))))


if __name__ == "__main__":
    main()
