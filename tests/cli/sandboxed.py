"""Start a command with the main pieces of the unit's sandbox, by hand: a mount namespace in which everything but one
folder is read-only and foreign processes are hidden, another user, no capability, no new privilege, no new machine
code. (systemd itself: test_real_systemd.py.)

    python sandboxed.py FOLDER UID WORD..
"""

import ctypes
import os
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_CAPBSET_DROP = 38, 65, 24
MDWE_REFUSE_EXEC_GAIN = 1
CLONE_NEWNS = 0x20000
LAST_CAPABILITY = 63


def called(result: int, what: str) -> None:
    """End where a system call failed: a sandbox that is not there proves nothing."""
    if result != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def main() -> None:
    """Make the sandbox and become the command."""
    folder, uid, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    called(LIBC.unshare(CLONE_NEWNS), "unshare")
    for words in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "--bind", folder, folder],
        ["mount", "-o", "remount,bind,ro", "/"],
        ["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"],
    ):
        subprocess.run(words, check=True)
    for number in range(LAST_CAPABILITY + 1):
        LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.umask(0o077)
    called(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    called(LIBC.prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0), "no new machine code")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
