"""Run a program as root of a user namespace of its own: it holds every capability there, and none over this machine's
clock (settimeofday and adjtimex ask the first namespace). Names of users that its package would have made are laid over
/etc/passwd in a mount namespace.

`python -m tests.interop.ntp.apart PROGRAM ARG..`; only for root.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
USERS = ("ntpd", "openntpd", "_ntp", "ntpsec", "systemd-timesync")
FIRST_ID = 61_000


def apart(words: list[str]) -> int:
    """Run a program apart and return its status."""
    libc = ctypes.CDLL(None, use_errno=True)
    ready_in, ready_out = os.pipe()
    go_in, go_out = os.pipe()
    child = os.fork()
    if not child:
        try:
            if libc.unshare(CLONE_NEWUSER):
                os._exit(126)
            os.write(ready_out, b"1")
            os.read(go_in, 1)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            os.execvp(words[0], words)
        finally:
            os._exit(127)
    os.read(ready_in, 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text("0 0 65536\n", encoding="ascii")
    os.write(go_out, b"1")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lay_users_over(folder: Path) -> None:
    """Let /etc/passwd, in this mount namespace alone, name the users of the packages."""
    home = folder / "empty"
    home.mkdir(mode=0o755)
    known = Path("/etc/passwd").read_text(encoding="utf-8")
    more = [
        f"{name}:x:{FIRST_ID + k}:{FIRST_ID + k}::{home}:/bin/false"
        for k, name in enumerate(USERS)
        if name not in known
    ]
    laid = folder / "passwd"
    laid.write_text("\n".join([known.rstrip(), *more]) + "\n", encoding="utf-8")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(str(laid).encode(), b"/etc/passwd", None, 4096, None):  # MS_BIND
        raise OSError(ctypes.get_errno(), "mount")


if __name__ == "__main__":
    raise SystemExit(apart(sys.argv[1:]))
