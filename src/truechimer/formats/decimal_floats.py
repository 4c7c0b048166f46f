# mypy: allow-untyped-defs, allow-untyped-calls
"""Decimal floats: the float64 nearest to a decimal number, in whole numbers alone, for readers in machine code.

It reads no text: a reader hands over digits and a power of ten. What it cannot decide (one case in 2^60, subnormal
numbers, more than a float64 holds) it says, and Python's own `float` decides. As plain Python it would be slow and
would warn of overflows that are meant: callers look at `kernel.COMPILED`.

Source: Lemire, "Number parsing at a gigabyte per second" (2021), algorithm 1 and its table; Clinger (1990) for the
short way.
"""

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel

LEAST_POWER, MOST_POWER = -300, 290
"""Powers of ten that are taken; beyond them Python decides."""


def _fives() -> NDArray[np.uint64]:
    """Return the 128 leading bits of 5^q, high word and low word, for every power q."""
    out = []
    for q in range(LEAST_POWER, MOST_POWER + 1):
        five = 5 ** abs(q)
        if q < 0:
            z = (five - 1).bit_length()
            value = (1 << (z + 127 if q >= -27 else 2 * z + 128)) // five + 1
        else:
            value = five << 128
        value >>= max(value.bit_length() - 128, 0)
        value <<= 128 - value.bit_length()
        out.append((value >> 64, value & (2**64 - 1)))
    return np.array(out, np.uint64)


FIVES = _fives()
TENS = np.array([10.0**q for q in range(23)])

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ZERO, _ONE, _TWO, _THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_NINE_BITS = np.uint64(0x1FF)
_TOP, _NINE, _FIFTY_TWO, _SIXTY_THREE = np.uint64(63), np.uint64(9), np.uint64(52), np.uint64(63)
_HIDDEN = np.uint64(1 << 52)
_CARRY = np.uint64(1 << 53)
UNDECIDED = np.uint64(0x7FF8000000000000)
"""What `nearest` returns where Python has to decide: the bits of a number that is none."""


@kernel
def _product(a, b):
    """Return the high and the low 64 bits of a times b."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    low, one, two = a_low * b_low, a_high * b_low, a_low * b_high
    middle = (low >> _HALF) + (one & _LOW) + (two & _LOW)
    high = a_high * b_high + (one >> _HALF) + (two >> _HALF) + (middle >> _HALF)
    return high, (middle << _HALF) | (low & _LOW)


@kernel
def nearest(digits, power, is_negative, fives, tens, scratch):  # noqa: PLR0917
    """Return the bits (uint64) of the float64 nearest to `digits` times 10^power, or `UNDECIDED`.

    `digits`: uint64, at most 19 decimal digits, none of them left out; `scratch`: a float64 array `(1,)` of the
    caller's and the same memory as uint64, in which bits are taken.
    """
    sign = _ONE << _SIXTY_THREE if is_negative else _ZERO
    if digits == _ZERO:
        return sign
    if digits <= _CARRY and -22 <= power <= 22:
        value = np.float64(digits)
        value = value * tens[power] if power >= 0 else value / tens[-power]
        scratch[0][0] = value
        return scratch[1][0] | sign
    if power < LEAST_POWER or power > MOST_POWER:
        return UNDECIDED
    zeros = 0
    shifted = digits
    for many in (32, 16, 8, 4):
        if shifted >> np.uint64(64 - many) == _ZERO:
            shifted <<= np.uint64(many)
            zeros += many
    while shifted >> _TOP == _ZERO:
        shifted <<= _ONE
        zeros += 1
    place = power - LEAST_POWER
    high, low = _product(shifted, fives[place, 0])
    if high & _NINE_BITS == _NINE_BITS:
        more, _ = _product(shifted, fives[place, 1])
        low += more
        if low < more:
            high += _ONE
    if low == _ALL and (power < -27 or power > 55):
        return UNDECIDED
    upper = high >> _TOP
    shift = upper + _NINE
    mantissa = high >> shift
    exponent = (((152170 + 65536) * power) >> 16) + 63 + np.int64(upper) - zeros + 1023
    if exponent <= 0 or exponent >= 2046:
        return UNDECIDED
    if low <= _ONE and -4 <= power <= 23 and mantissa & _THREE == _ONE and mantissa << shift == high:
        mantissa &= ~_ONE
    mantissa += mantissa & _ONE
    mantissa >>= _ONE
    if mantissa >= _CARRY:
        mantissa = _HIDDEN
        exponent += 1
    return sign | (np.uint64(exponent) << _FIFTY_TWO) | (mantissa & ~_HIDDEN)
