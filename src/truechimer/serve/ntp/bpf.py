"""A small assembler of eBPF instructions: registers, labels and 8 octets for each instruction.

It loads nothing, and knows nothing of time (`serve.ntp.accelerator` writes the program, `daemon.ntp.bpf_calls` hands it
to the kernel). Source: RFC 9669 (BPF instruction set), clauses beside the lines. Octets are little-endian, as on x86-64
and aarch64.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum

from truechimer.errors import Misuse

INSTRUCTION_OCTETS = 8
_INSTRUCTION = struct.Struct("<BBhi")
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}  # RFC 9669 5: B, H, W, DW
_LDX, _ST, _STX, _ALU64_K, _ALU64_X, _JMP_K, _JMP_X, _JMP32_K = 0x61, 0x62, 0x63, 0x07, 0x0F, 0x05, 0x0D, 0x06
_MAP_VALUE = 2  # the source of a 64-bit immediate that is the address of a map's value: RFC 9669 5.4
_MAP = 1
_CALL, _EXIT, _TO_NETWORK, _LOAD_64 = 0x85, 0x95, 0xDC, 0x18


class Register(IntEnum):
    """R0 holds results, R1 to R5 arguments that a call destroys, R6 to R9 what is kept, R10 the end of the stack."""

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    STACK = 10


class Do(IntEnum):
    """Arithmetic on 64 bits: RFC 9669 4.1."""

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    OR = 0x40
    AND = 0x50
    SHIFT_LEFT = 0x60
    SHIFT_RIGHT = 0x70
    XOR = 0xA0
    MOVE = 0xB0
    SHIFT_SIGNED = 0xC0


class When(IntEnum):
    """Conditions of a jump, unsigned but for the last two: RFC 9669 4.3."""

    ALWAYS = 0x00
    EQUAL = 0x10
    ABOVE = 0x20
    AT_LEAST = 0x30
    UNEQUAL = 0x50
    BELOW = 0xA0
    AT_MOST = 0xB0
    SIGNED_ABOVE = 0x60
    SIGNED_BELOW = 0xC0


class BpfMisuse(Misuse):
    """A program that cannot be assembled."""


@dataclass(slots=True)
class _Instruction:
    opcode: int
    target: int = 0
    source: int = 0
    offset: int | str = 0
    immediate: int = 0


@dataclass(slots=True)
class Assembler:
    """Instructions in their order; a label may be jumped to before it is placed, forward only.

    Invariant: `_labels` hold positions counted in instructions.
    """

    _code: list[_Instruction] = field(default_factory=list)
    _labels: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many instructions there are."""
        return len(self._code)

    def load(self, size: int, target: Register, source: Register, offset: int) -> None:
        """Let `target` be `size` octets at `source` + `offset`, as a little-endian number."""
        self._code.append(_Instruction(_LDX | _SIZES[size], target, source, offset))

    def store(self, size: int, target: Register, offset: int, source: Register) -> None:
        """Put the lower `size` octets of `source` at `target` + `offset`."""
        self._code.append(_Instruction(_STX | _SIZES[size], target, source, offset))

    def put(self, size: int, target: Register, offset: int, value: int) -> None:
        """Put a number of up to 32 bits at `target` + `offset`; of 8 octets the number is sign-extended."""
        self._code.append(_Instruction(_ST | _SIZES[size], target, 0, offset, value))

    def do(self, operation: Do, target: Register, by: Register | int) -> None:
        """Let `target` be `target` (operation) `by`; a number is 32 bits, sign-extended."""
        if isinstance(by, Register):
            self._code.append(_Instruction(_ALU64_X | operation, target, by))
        else:
            self._code.append(_Instruction(_ALU64_K | operation, target, 0, 0, by))

    def number(self, target: Register, value: int) -> None:
        """Let `target` be any number of 64 bits."""
        self._wide(target, 0, value & 0xFFFFFFFF, value >> 32)

    def to_network(self, target: Register) -> None:
        """Turn the 8 octets of `target` round: host order to network order."""
        self._code.append(_Instruction(_TO_NETWORK, target, 0, 0, 64))

    def map_value(self, target: Register, descriptor: int, offset: int = 0) -> None:
        """Let `target` be the address of octet `offset` in the one value of an array map."""
        self._wide(target, _MAP_VALUE, descriptor, offset)

    def map_itself(self, target: Register, descriptor: int) -> None:
        """Let `target` name a map, for a call."""
        self._wide(target, _MAP, descriptor, 0)

    def _wide(self, target: Register, source: int, low: int, high: int) -> None:
        self._code.append(_Instruction(_LOAD_64, target, source, 0, low))
        self._code.append(_Instruction(0, 0, 0, 0, high))

    def call(self, helper: int) -> None:
        """Call a helper of the kernel; R1 to R5 are lost."""
        self._code.append(_Instruction(_CALL, immediate=helper))

    def jump(self, label: str) -> None:
        """Go on at `label`."""
        self._code.append(_Instruction(_JMP_K | When.ALWAYS, offset=label))

    def jump_if(self, register: Register, when: When, by: Register | int, label: str) -> None:
        """Go on at `label` where the condition holds."""
        if isinstance(by, Register):
            self._code.append(_Instruction(_JMP_X | when, register, by, label))
        else:
            self._code.append(_Instruction(_JMP_K | when, register, 0, label, by))

    def jump_if_word(self, register: Register, when: When, by: int, label: str) -> None:
        """Go on at `label` where the condition holds for the lower 32 bits, taken as unsigned."""
        self._code.append(_Instruction(_JMP32_K | when, register, 0, label, by))

    def label(self, name: str) -> None:
        """Place a label here."""
        if name in self._labels:
            raise BpfMisuse(f"BPF program: label {name!r} is placed twice; give it another name")
        self._labels[name] = len(self._code)

    def is_aimed_at(self, label: str) -> bool:
        """Return whether any jump so far goes to `label`."""
        return any(one.offset == label for one in self._code)

    def end(self, result: int) -> None:
        """Return a number to the kernel."""
        self.do(Do.MOVE, Register.R0, result)
        self._code.append(_Instruction(_EXIT))

    def octets(self) -> bytes:
        """Return the program. Raises `BpfMisuse` for a jump backward (a loop), too far, or to nowhere."""
        return b"".join(self._packed(position, one) for position, one in enumerate(self._code))

    def _packed(self, position: int, one: _Instruction) -> bytes:
        offset = one.offset
        if isinstance(offset, str):
            aim = self._labels.get(offset)
            if aim is None or not 0 <= aim - position - 1 < 2**15:
                raise BpfMisuse(f"BPF program: no label {offset!r} after instruction {position}, within 2^15 of it")
            offset = aim - position - 1
        immediate = one.immediate & 0xFFFFFFFF
        signed = immediate - (1 << 32) if immediate >> 31 else immediate
        return _INSTRUCTION.pack(one.opcode, one.target | one.source << 4, offset, signed)
