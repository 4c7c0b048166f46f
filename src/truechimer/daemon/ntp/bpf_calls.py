"""The kernel's bpf(2) by way of ctypes: maps, a program, its attachment to an interface. No compiler, no library.

It knows nothing of NTP. Source: bpf(2), include/uapi/linux/bpf.h of Linux 6.1, whose numbers never change. What it
opens is closed with the process: nothing is pinned, so even after a kill -9 no program is left on an interface.

Obligations of every raw address, all of them kept here (none of them is used by this process itself):
1. it is of a buffer that a name holds until the call has returned; the kernel keeps none;
2. a length that is given with it is the buffer's own, and an answer is cut to it by the kernel;
3. keys and values have no length beside them: they are as long as the map was made for, which whoever calls says once
   when it is made; no map here has a value for each processor, whose room would be a multiple.
"""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass
from pathlib import Path

from truechimer.errors import Rejected

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD, _PROG_TEST_RUN, _LINK_CREATE, _LINK_UPDATE = (
    0, 1, 2, 3, 5, 10, 28, 29,
)  # fmt: skip
MAP_ARRAY, MAP_LRU_HASH, MAP_LPM_TRIE = 2, 9, 11
MAPPABLE, NO_PREALLOCATION = 1 << 10, 1
_PROG_TYPE_XDP, _ATTACH_XDP = 6, 37
_GENERIC = 1 << 1  # XDP_FLAGS_SKB_MODE
_LOG_OCTETS = 1 << 20
LEAST_KERNEL = (6, 1)
LICENCE = b"Apache-2.0"
"""As the whole is; none of the helpers asks for the GPL."""

WORDS = {
    errno.EPERM: "this process may not (it needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root)",
    errno.EBUSY: "another program is attached to the interface",
    errno.EEXIST: "another program is attached to the interface",
    errno.ENOSYS: "this kernel has no bpf(2)",
}


class BpfRejected(Rejected):
    """The kernel refuses: `doing` what, `number` its errno, `log` the verifier's last words."""

    def __init__(self, doing: str, number: int, log: str = "") -> None:
        why = WORDS.get(number, os.strerror(number))
        last = [line for line in log.strip().splitlines() if not line.startswith("processed ")][-1:]
        super().__init__(f"{doing}: {why}{f' ({last[0]})' if last else ''}")
        self.doing = doing
        self.number = number
        self.log = log


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a program did with a frame: its verdict, the frame after it, ns for one run."""

    verdict: int
    frame: bytes
    took_ns: int


def why_not_here() -> str | None:
    """Return why this machine cannot do it at all, or None."""
    if platform.system() != "Linux" or platform.machine() not in _SYSCALL:
        return f"{platform.system()} on {platform.machine()} is not supported (Linux on x86-64 or aarch64 is)"
    words = platform.release().split("-")[0].split(".")
    version = tuple(int(word) for word in words[:2] if word.isdecimal())
    if version < LEAST_KERNEL:
        return f"Linux {platform.release()} is older than {LEAST_KERNEL[0]}.{LEAST_KERNEL[1]}"
    return None


def _bpf(command: int, attributes: bytes, doing: str) -> int:
    """Make the call; its attributes are laid out as the union for `command`. Raises `BpfRejected`."""
    room = ctypes.create_string_buffer(attributes, len(attributes))
    return _call(command, room, doing)


def _call(command: int, room: "ctypes.Array[ctypes.c_char]", doing: str) -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise BpfRejected(doing, errno.ENOSYS)
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library.syscall(
        ctypes.c_long(number), ctypes.c_int(command), room, ctypes.c_uint(ctypes.sizeof(room))
    )
    if result < 0:
        raise BpfRejected(doing, ctypes.get_errno())
    return result


def create_map(kind: int, *, key_octets: int, value_octets: int, entries: int, flags: int = 0) -> int:
    """Return the descriptor of a new map. Raises `BpfRejected`."""
    attributes = struct.pack("=IIIIIII16s", kind, key_octets, value_octets, entries, flags, 0, 0, b"truechimer")
    return _bpf(_MAP_CREATE, attributes.ljust(72, b"\0"), "making a BPF map")


def update(descriptor: int, key: bytes, value: bytes) -> None:
    """Put `value` at `key`. Raises `BpfRejected`."""
    _with_element(_MAP_UPDATE, descriptor, key, value, "writing a BPF map")


def delete(descriptor: int, key: bytes) -> None:
    """Take `key` away. Raises `BpfRejected`."""
    _with_element(_MAP_DELETE, descriptor, key, b"", "writing a BPF map")


def look_up(descriptor: int, key: bytes, value_octets: int) -> bytes | None:
    """Return the value at `key`, or None. Raises `BpfRejected`."""
    try:
        return _with_element(_MAP_LOOKUP, descriptor, key, bytes(value_octets), "reading a BPF map")
    except BpfRejected as error:
        if error.number == errno.ENOENT:
            return None
        raise


def _with_element(command: int, descriptor: int, key: bytes, value: bytes, doing: str) -> bytes:
    key_room = ctypes.create_string_buffer(key, len(key))
    value_room = ctypes.create_string_buffer(value, max(len(value), 1))
    where = ctypes.addressof(key_room), ctypes.addressof(value_room) if value else 0  # a field not used must be 0
    _bpf(command, struct.pack("=IIQQQ", descriptor, 0, *where, 0), doing)
    return value_room.raw[: len(value)]


def load_program(octets: bytes) -> int:
    """Let the kernel verify a program and return its descriptor. Raises `BpfRejected` with the verifier's words."""
    text = ctypes.create_string_buffer(octets, len(octets))
    licence = ctypes.create_string_buffer(LICENCE)
    log = ctypes.create_string_buffer(1)
    doing = "loading the program"

    def attributes(level: int) -> bytes:
        return struct.pack(
            "=IIQQIIQII16sII",
            *(_PROG_TYPE_XDP, len(octets) // 8, ctypes.addressof(text), ctypes.addressof(licence)),
            *(level, len(log) if level else 0, ctypes.addressof(log) if level else 0),
            *(0, 0, b"truechimer_ntp", 0, _ATTACH_XDP),
        )

    try:
        return _bpf(_PROG_LOAD, attributes(0), doing)
    except BpfRejected as error:
        if error.number in {errno.EPERM, errno.ENOSYS}:
            raise
    log = ctypes.create_string_buffer(_LOG_OCTETS)
    try:
        return _bpf(_PROG_LOAD, attributes(1), doing)
    except BpfRejected as error:
        raise BpfRejected(doing, error.number, log.value.decode("ascii", "replace")) from None


def run_once(program: int, frame: bytes, *, repeat: int = 1) -> RunResult:
    """Run a program on a frame without any interface (the kernel's BPF_PROG_TEST_RUN). Raises `BpfRejected`."""
    given = ctypes.create_string_buffer(frame, len(frame))
    taken = ctypes.create_string_buffer(max(len(frame), 256))
    attributes = struct.pack(
        "=IIIIQQII",
        *(program, 0, len(frame), len(taken), ctypes.addressof(given), ctypes.addressof(taken), repeat, 0),
    )
    room = ctypes.create_string_buffer(attributes.ljust(80, b"\0"), 80)
    _call(_PROG_TEST_RUN, room, "running a program")
    _, verdict, _, length, _, _, _, took_ns = struct.unpack_from("=IIIIQQII", room.raw)
    return RunResult(verdict, taken.raw[:length], took_ns)


def attach(program: int, interface: int) -> int:
    """Attach a program to an interface (generic mode) and return the descriptor that holds it there.

    It is detached when the descriptor is closed, at the latest with the process. Raises `BpfRejected`.
    """
    return _bpf(_LINK_CREATE, struct.pack("=IIII", program, interface, _ATTACH_XDP, _GENERIC), "attaching the program")


def exchange(link: int, program: int) -> None:
    """Let another program take the place of the attached one, between two frames. Raises `BpfRejected`."""
    _bpf(_LINK_UPDATE, struct.pack("=IIII", link, program, 0, 0), "exchanging the program")


def possible_processors() -> int:
    """Return one more than the highest number that a processor of this machine may have."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip()
    return int(text.replace("-", ",").split(",")[-1]) + 1
