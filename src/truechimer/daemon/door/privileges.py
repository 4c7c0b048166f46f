"""Privileges: what a door gives up for ever once its sockets are bound.

A door that root starts has every capability, and needs one of them for one call: to bind a port below 1024. After that
call they are all dropped, from its own sets, from what its workers may get by being root, and from what any program it
starts could regain. Only where root reads somebody else's folder the right to do that is kept: without it the page
could not be read again. A door with an accelerator keeps what loads and attaches its programs; its workers do not.

It binds nothing and opens nothing. Source: capabilities(7), capset(2), prctl(2), PR_SET_NO_NEW_PRIVS.

Obligations of every raw address: those of capset(2) are of buffers that the call's own frame holds, as long as the
structures of version 3.
"""

import ctypes
import os
import resource
import stat
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN = 1, 2, 10, 12
CAP_PERFMON, CAP_BPF = 38, 39
OF_OTHERS = frozenset({CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH})
"""Root's right to read, write and enter what belongs to others."""
BELOW_THE_SOCKETS = frozenset({CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF})
"""What an accelerator needs as long as it lives: interfaces come and go, and each has a program of its own."""
URGENT = 40
"""Real-time priority of an accelerator's thread, so that a processor full of requests does not keep it from its 0.1 ms
of work; below that of interrupts.
"""
LAST_CAP = Path("/proc/sys/kernel/cap_last_cap")
MOST_CAP = 63
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")
_SETS = struct.Struct("=6I")  # effective, permitted, inheritable: the lower 32 bits, then the upper ones


def drop(keep: Iterable[int] = ()) -> str:
    """Give up every capability but those in `keep`, and that any program regains one. Return what went wrong in one
    line, empty where nothing did: a door with too many rights still serves the right time.
    """
    if sys.platform != "linux":
        return ""
    libc = ctypes.CDLL(None, use_errno=True)
    kept = frozenset(keep)
    wrong = ""
    for number in range(_last() + 1):
        # without the right to change this set there is nothing that an exec could give by it: no_new_privs sees to that
        if number not in kept:
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        wrong = f"it may still gain rights by starting programs ({os.strerror(ctypes.get_errno())})"
    held = _held()
    mask = sum(1 << number for number in kept) & held
    if held == mask:
        return wrong
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = ctypes.create_string_buffer(_HEADER.pack(VERSION_3, 0))
    sets = ctypes.create_string_buffer(_SETS.pack(low, low, 0, high, high, 0))
    # the filter of the exported unit refuses capset; all that is held there is the right to bind a port
    if libc.capset(header, sets) and held & ~mask != 1 << CAP_NET_BIND_SERVICE:
        wrong = f"its capabilities were not dropped ({os.strerror(ctypes.get_errno())})"
    return wrong


def let_threads_be_urgent(priority: int) -> None:
    """Let threads of this process have a real-time priority up to this after its rights are gone; where that is not
    granted, they are threads like any other.
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_RTPRIO, (priority, priority))


def needed(files: Iterable[Path | None]) -> frozenset[int]:
    """Return the capabilities without which these files, or their folders, are out of reach: none but root's over what
    belongs to others, and those only for root.
    """
    if os.geteuid() != 0:
        return frozenset()
    reached = all(_is_own(path.absolute()) for path in files if path is not None)
    return frozenset() if reached else OF_OTHERS


def _is_own(path: Path) -> bool:
    """Return whether root may enter every folder on the way, by the rights of its owner or of everybody, and owns the
    file itself, or its folder where there is no such file yet.
    """
    for folder in path.parents:
        try:
            found = folder.stat()
        except OSError:
            return False
        entered = stat.S_IXUSR if found.st_uid == 0 else stat.S_IXOTH
        if not found.st_mode & entered:
            return False
    try:
        return path.stat().st_uid == 0
    except FileNotFoundError:
        return path.parent.stat().st_uid == 0
    except OSError:
        return False


def _held() -> int:
    """Return the permitted capabilities of this process as bits."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def _last() -> int:
    try:
        return min(int(LAST_CAP.read_text(encoding="ascii")), MOST_CAP)
    except (OSError, ValueError):
        return MOST_CAP
