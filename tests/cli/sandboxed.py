"""Start a command with the main pieces of the unit's sandbox, by hand: a mount namespace in which everything but one
folder is read-only and foreign processes are hidden, another user, no capability, no new privilege, no new machine
code, and the unit's own filter of system calls, loaded through libseccomp as systemd loads it. (systemd itself:
test_real_systemd.py.)

    python sandboxed.py FOLDER UID UNIT WORD..
"""

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_CAPBSET_DROP = 38, 65, 24
MDWE_REFUSE_EXEC_GAIN = 1
CLONE_NEWNS = 0x20000
LAST_CAPABILITY = 63
SCMP_ACT_ALLOW, SCMP_ACT_ERRNO = 0x7FFF0000, 0x00050000


def called(result: int, what: str) -> None:
    """End where a system call failed: a sandbox that is not there proves nothing."""
    if result != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def allowed_calls(unit: str) -> set[str]:
    """Return the system calls that the unit's SystemCallFilter= lines leave, their groups written out by systemd."""
    calls: set[str] = set()
    for line in Path(unit).read_text(encoding="utf-8").splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.removeprefix("SystemCallFilter=")
            named = {call for word in words.removeprefix("~").split() for call in _written_out(word)}
            calls = calls - named if words.startswith("~") else calls | named
    return calls


def _written_out(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    done = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True)
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    return {call for one in words if one and not one.startswith("#") for call in _written_out(one)}


def filter_calls(calls: set[str]) -> None:
    """Refuse all system calls but these, with EPERM, from here on and in every child."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(SCMP_ACT_ERRNO | errno.EPERM)))
    for name in sorted(calls):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others are of other machines
            rule = seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(SCMP_ACT_ALLOW), number, 0, None)
            called(rule, f"allow {name}")
    called(seccomp.seccomp_load(context), "the filter of system calls")


def main() -> None:
    """Make the sandbox and become the command."""
    folder, uid, unit, command = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    calls = allowed_calls(unit)
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
    filter_calls(calls)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
