"""One NTP request in a batch's memory, in machine code: refused for a counted reason, handed to Python, or turned into
its answer where it stands.

It makes no time (a template and a line come in) and no system call. What `server.respond` answers with 48 octets it
answers with the same 48; whatever is more than a plain request (a code that a key can check, a version behind a switch)
it leaves to `respond` itself. Source: RFC 5905 figure 8 and A.5.3, RFC 7822 7.5, RFC 9769; `server` is the reference,
and a test holds the two against each other, packet by packet.

`is_allowed`, `admit`, `take`, `holds`, `save`, `correct`, `left` and `answer_in` are those of the reference, compiled.

Memory: `octets` is uint8 `(batch, room)`; `words` are the same octets as uint32 of a little-endian machine `(batch,
room // 4)`. The law of the file: no octet is read at or beyond a datagram's length, and none is written at or beyond
octet 48.
"""

from typing import Any

import numpy as np

from truechimer.kernel import borrowing_kernel
from truechimer.serve.ntp import access_list, departed, interleaved, rate_table
from truechimer.serve.ntp.interleaved import NOT_KNOWN
from truechimer.serve.ntp.line_kernel import (
    ANCHOR_RAW,
    LOW_32,
    next_unit,
    stamp_of_line,
    units_apart,
)
from truechimer.serve.ntp.packet import MOST_FIELDS
from truechimer.serve.ntp.reply import UNIQUE_WITHIN_UNITS, IgnoreReason
from truechimer.serve.ntp.server import POLL_RANGE

is_allowed = borrowing_kernel(access_list.is_allowed)
admit = borrowing_kernel(rate_table.admit)
take = borrowing_kernel(interleaved.take)
holds = borrowing_kernel(interleaved.holds)
save = borrowing_kernel(interleaved.save)
correct = borrowing_kernel(interleaved.correct)
left = borrowing_kernel(interleaved.left)
answer_in = borrowing_kernel(departed.answer_in)

ANSWER = -1
TO_PYTHON = -2
REASONS: tuple[IgnoreReason, ...] = (
    IgnoreReason.SHORT,
    IgnoreReason.VERSION,
    IgnoreReason.MODE_NOT_CLIENT,
    IgnoreReason.MODE_CONTROL,
    IgnoreReason.EXTENSION_MALFORMED,
    IgnoreReason.SOURCE_PORT_ZERO,
    IgnoreReason.NOT_ALLOWED,
    IgnoreReason.RATE_LIMITED,
    IgnoreReason.MAC_UNSUPPORTED,
)
"""Why this kernel refuses a request: its verdict is the place of the reason here."""
(
    SHORT,
    VERSION,
    MODE_NOT_CLIENT,
    MODE_CONTROL,
    EXTENSION_MALFORMED,
    SOURCE_PORT_ZERO,
    NOT_ALLOWED,
    RATE_LIMITED,
    MAC_UNSUPPORTED,
) = range(len(REASONS))

HEADER_OCTETS = 48
CLIENT_MODE = 3
CONTROL_MODE = 6
NEWEST_VERSION = 4
LEAST_FIELD = 16
LEAST_LAST_FIELD = 28
MOST_POLL = POLL_RANGE[1]

# What follows the header, by lengths alone.
FIELDS, MAC, MALFORMED = 0, 1, 2

# A template: the twelve words of an answer, then what else must be known of it.
TEMPLATE_WORDS = 12
HAS_TIME = 12  # 1: both stamps are read from the line; 0: both are zero, "not known"
CLAMP_REFERENCE = 13  # 1: the reference stamp must not be after the receive stamp
LEAST_POLL = 14  # the least poll interval that is said, log2 s
INTERLEAVES = 15  # 1: such answers are remembered for the interleaved mode
TEMPLATE_LENGTH = 16


@borrowing_kernel
def turned(word: Any) -> Any:
    """Return four octets in the other order."""
    return (word & 0xFF) << 24 | (word & 0xFF00) << 8 | (word >> 8) & 0xFF00 | (word >> 24) & 0xFF


@borrowing_kernel
def tail_of(octets: Any, i: int, length: int, version: Any) -> int:
    """Return what follows the header of a longer request, by lengths alone: `packet.tail_of`."""
    if version < NEWEST_VERSION:
        rest = length - HEADER_OCTETS
        return MAC if rest == 4 or rest == 12 or rest == 20 or rest == 24 else MALFORMED
    start: Any = HEADER_OCTETS
    for _ in range(MOST_FIELDS):
        rest = length - start
        if rest == 4 or rest == 20 or rest == 24:
            return MAC
        if rest < LEAST_LAST_FIELD:
            return MALFORMED
        field = np.int64(octets[i, start + 2]) << 8 | np.int64(octets[i, start + 3])
        if field < LEAST_FIELD or field % 4 != 0 or field > rest:
            return MALFORMED
        start += field
        if start == length:
            return FIELDS
    rest = length - start
    return MAC if rest == 4 or rest == 20 or rest == 24 else MALFORMED


@borrowing_kernel
def glance_at(octets: Any, i: int, length: int, port: Any, newest_version: int) -> int:
    """Return ANSWER, TO_PYTHON (another version that is offered), or the place of the reason in REASONS: what
    `server.glance` says.
    """
    if length < HEADER_OCTETS:
        return SHORT
    first = np.int64(octets[i, 0])
    version, mode = first >> 3 & 7, first & 7
    if version == 0 or version > newest_version:
        return VERSION
    if mode != CLIENT_MODE:
        return MODE_CONTROL if mode >= CONTROL_MODE else MODE_NOT_CLIENT
    if port == 0:
        return SOURCE_PORT_ZERO
    return ANSWER if version <= NEWEST_VERSION else TO_PYTHON


@borrowing_kernel
def write_answer(
    words: Any,
    i: int,
    template: Any,
    line: Any,
    rate: Any,
    rx_raw_ns: int,
    receive: Any,
    keys: Any,
    held: Any,
    saved_ns: Any,
) -> None:
    """Turn a request into its answer, but for the transmit stamp. `receive[i]` is given the receive stamp in it
    (seconds and fraction), whether it is to be remembered, and, for an interleaved answer, 1 and the earlier transmit
    stamp.
    `keys`, `held` and `saved_ns` are an `interleaved.SavedStamps`'s, empty where that mode is not offered.
    """
    first = np.int64(words[i, 0])
    poll: Any = first >> 16 & 0xFF
    if poll > 127:
        poll -= 256
    poll = min(max(poll, template[LEAST_POLL]), MOST_POLL)
    seconds = fraction = 0
    if template[HAS_TIME] != 0:
        seconds, fraction = stamp_of_line(line, rate, rx_raw_ns)
        if seconds == 0 and fraction == 0:
            fraction = 1  # zero says "not known"
    reference_s, reference_fraction = seconds, fraction
    receive[i, 2] = receive[i, 3] = 0
    origin_high, origin_low = words[i, 10], words[i, 11]  # the client's transmit stamp, bit for bit
    if template[INTERLEAVES] != 0 and keys.shape[0] > 0 and (words[i, 6] != 0 or words[i, 7] != 0):
        # RFC 9769 section 2: `server._synchronised`
        while holds((seconds & 0x7FFF_FFFF) << 32 | fraction, keys) or (seconds == 0 and fraction == 0):
            seconds, fraction = next_unit(seconds, fraction)
        receive[i, 2] = 1
        if words[i, 8] != words[i, 10] or words[i, 9] != words[i, 11]:
            asked_s, asked_fraction = turned(np.int64(words[i, 6])), turned(np.int64(words[i, 7]))
            apart = take((asked_s & 0x7FFF_FFFF) << 32 | asked_fraction, keys, held)
            if apart >= 0:
                whole = asked_fraction + (apart & LOW_32)
                receive[i, 3] = 1
                receive[i, 4] = (asked_s + (apart >> 32) + (whole >> 32)) & LOW_32
                receive[i, 5] = whole & LOW_32
                origin_high, origin_low = words[i, 8], words[i, 9]
        # so that no other answer of this batch has its receive stamp; when it left is put to it after it has
        save((seconds & 0x7FFF_FFFF) << 32 | fraction, NOT_KNOWN, rx_raw_ns, keys, held, saved_ns)
    words[i, 6], words[i, 7] = origin_high, origin_low
    words[i, 0] = template[0] | first & 0x38 | (poll & 0xFF) << 16
    for word in range(1, 6):
        words[i, word] = template[word]
    if template[CLAMP_REFERENCE] != 0 and rx_raw_ns < line[ANCHOR_RAW]:
        words[i, 4], words[i, 5] = turned(reference_s), turned(reference_fraction)
    words[i, 8], words[i, 9] = turned(seconds), turned(fraction)
    receive[i, 0], receive[i, 1] = seconds, fraction


@borrowing_kernel
def write_transmit(words: Any, i: int, line: Any, rate: Any, raw_ns: int, receive: Any, last: Any) -> None:
    """Put the transmit stamp of `raw_ns` into an answer, after its own receive stamp and apart from `last`, the one
    before it on this door (seconds and fraction, both 0 for none): `server.transmit_stamp`.
    """
    seconds, fraction = stamp_of_line(line, rate, raw_ns)
    if units_apart(seconds, fraction, receive[i, 0], receive[i, 1]) <= 0:
        seconds, fraction = next_unit(receive[i, 0], receive[i, 1])
    if last[0] != 0 or last[1] != 0:
        behind = units_apart(last[0], last[1], seconds, fraction)
        if 0 <= behind < UNIQUE_WITHIN_UNITS:
            seconds, fraction = next_unit(last[0], last[1])
    if seconds == 0 and fraction == 0:
        fraction = 1
    last[0], last[1] = seconds, fraction
    if receive[i, 3] != 0:
        seconds, fraction = receive[i, 4], receive[i, 5]  # an interleaved answer says when the one before it left
    words[i, 10], words[i, 11] = turned(seconds), turned(fraction)


@borrowing_kernel
def write_unknown_transmit(words: Any, i: int) -> None:
    """Put zero, which is "not known", where the transmit stamp stands."""
    words[i, 10], words[i, 11] = 0, 0
