"""The layout of a batch of datagrams in memory: where each array and each number of the compiled loop stands.

It holds no address and makes no call (`ntp_memory` does). Source: recvmmsg(2) for the words of a header.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from truechimer.serve.ntp.ntpv5 import OFFER

BATCH = 64
DATAGRAM_ROOM = 2048
STRIDE = DATAGRAM_ROOM + 64
"""Octets from one datagram to the next: not a power of two, or all of them would share a few places of the cache."""
PEER_ROOM = 28
PEER_STRIDE = 32
CONTROL_ROOM = 192
OUT_CONTROL_ROOM = 64
DEPARTED_ROOM = 1280
"""Octets taken of an answer that the kernel hands back, with the headers before it."""
DEPARTED_CONTROL_ROOM = 256
ANSWER_OCTETS = 48
HEADER_STRIDE = 64
LINE_OCTETS = 64
SHORT_BATCH = 8
"""Up to so many answers each has a transmit stamp of its own, whatever the listener's option."""

UNIQUE_WITHIN_NS = 1_000
"""A receive stamp this close behind the one before it is moved to the next nanosecond after it."""

MSG_DONTWAIT = 0x40
MSG_TRUNC = 0x20
MSG_ERRQUEUE = 0x2000
AF_INET = 2
MOST_HELD = 2**63 - 1
EAGAIN = 11
POLLIN = 1
POLLERR = 8
CLOCK_REALTIME = 0
CLOCK_MONOTONIC_RAW = 4
NS_PER_S = 10**9
IDLE_TURN_MS = 20
"""House 4.7 asks for a pair every 100 ms; the shorter, the less can happen between two pairs unseen."""
PAGE_LOOK_EVERY_NS = 1_000_000
"""How old the last look at the page may be before a batch: some ten full batches. A page is written a few times a
second, and what an old one says holds by its own bound for longer than that.
"""
TRIPLES = 5
NARROW_CARD_NS = 2_500
"""A card is read over a bus, which takes a microsecond or two."""
NARROW_ENOUGH_NS = 1_000

# Words of a header (struct mmsghdr): name, its length, vector, how many, control, its length, flags, octets received.
NAME_LENGTH, VECTORS, CONTROL, CONTROL_LENGTH, FLAGS, RECEIVED = 1, 3, 4, 5, 6, 7

# Places of `addresses`.
AT_IN, AT_OUT, AT_OCTETS, AT_PEERS, AT_CLOCK, AT_POLL, AT_PAGE, AT_OUT_CONTROL, AT_DEPARTED = range(9)

# Places of `state`.
(
    DEADLINE_RAW,  # return to Python when a pair is this late
    UNTIL_RAW,  # the templates hold up to this raw value
    FROM_RAW,  # and from this one on
    PENDING,  # datagrams received and not answered
    USER_RAW,  # read right after they were handed over
    JUDGED,  # verdict on their stamps
    NOT_BEFORE_RAW,  # they came after this
    EMPTY_RAW,  # the queue was last seen empty after this
    MORE,  # 1: the last batch held several, so more may wait: they are asked for without a wait first
    DOUBTED,  # 1: a pair has cast doubt since Python looked
    STARTS,  # how many starts of full batches in a row are remembered
    LAST_RX_RAW,  # the last receive stamp, on the raw counter
    TO_PYTHON_COUNT,  # how many of the batch wait for Python
    ALLOWANCE,  # how many more may be handed to Python until the next return
    PAGE_FIRST,  # sequence numbers of the page's slots as Python read them
    PAGE_SECOND,
    FAILED,  # receives that failed in a row
    ASKED,  # answers sent whose departure the kernel was asked for and has not said
    ASKED_SINCE_RAW,  # the oldest of them left after this
    STAMPS_LEFT,  # for so many more it may be asked until the next return
    PAGE_LOOKED_RAW,  # when the page was looked at last
    CARD_JUDGED,  # verdict on the card's stamps of the batch
    PAIR_AHEAD,  # the second of two answers that share a reading leaves at least so long after the clock was read (ns)
    PAIR_LEAST,  # the least that two took lately (ns)
    PAIR_BEFORE,  # and before that
    PAIRS_SEEN,  # pairs that were timed
    REFUSED,  # 1: a kernel stamp was not believed since Python looked
) = range(27)
STATE_WORDS = 32

# Places of `settings`.
(
    SOCKET,
    PAGE_FILE,  # descriptor, -1 for none
    PAGE_AT,  # where the first slot begins in the file
    PAGE_APART,  # octets from the first slot's number to the second's
    NEWEST_VERSION,
    PAIRWISE,  # 1: in batches over SHORT_BATCH one transmit stamp for two answers
    EVERYBODY,  # 1: no access list
    DENIED_HEARS,  # 1: who is not allowed hears DENY, 0: nothing
    RATES,  # 1: sources are counted
    RATES_LOOPBACK,  # 1: this machine's own too
    HAS_KEYS,  # 1: codes after the header can be checked
    PACKET_INFO_WANTED,  # 1: answers leave from the address that was asked
    QUEUE_STARTS,  # full batches after which a datagram cannot be waiting any longer
    DEPARTURES,  # what is asked for of an interleaved answer's departure, bits of SO_TIMESTAMPING; 0: nothing
    OWN_PORT,
    CARD_CLOCK,  # clock id of the network card that stamps; 0: none does, or its rate is not learned
    CARD_INTERFACE,  # its number
) = range(17)
SETTING_WORDS = 20
MOST_STARTS = 512

# What `plan` says of a datagram: nothing is sent, or so long is the name of who gets it, and how.
NOT_ANSWERED = 0
NAME_OCTETS = 0xFF
WITHOUT_TIME = 0x100  # no time is known: its transmit stamp is zero
WITH_HEADER = 0x200  # it has control messages, so its header is sent
ANSWERED = 0x400

# Places of `tally`: which counter counts what.
(
    T_RECEIVED,
    T_TRUNCATED,
    T_KERNEL,
    T_USER,
    T_RECEIVE_FAILED,
    T_SEND_FAILED,
    T_OVER_BUDGET,
    T_ANSWERED_SUM,
    T_ANSWERED_FIRST,
    T_EDGES,
    T_ASKED,
    T_DEPARTED,
    T_CARD,
    T_REASONS,
) = range(14)

# Why `serve` returns.
DEADLINE, PAGE_CHANGED, TEMPLATE_ENDED, DOUBT, HANDED_OVER, BROKEN = range(6)
FAILED_TOO_OFTEN = 32
PAGE_LOOK_OCTETS = 2048


OFFER_FIRST, OFFER_SECOND = (int(word) for word in np.frombuffer(OFFER, dtype="<u4"))
"""What a client that would speak version 5 puts in place of its reference stamp, as it stands in `words`."""

KINDS = 2
KISS_RATE_ROWS, KISS_DENY_ROWS = 2, 4
"""Rows of the templates: two kinds of receive stamp, for the time, for the kiss RATE and for the kiss DENY."""
TEMPLATES = 6
SAYS_RATE, SAYS_DENY = -3, -4


class Rules(NamedTuple):
    """The arrays by which a packet is let in, counted and remembered: those of the door's `Gatekeeper`, not copies."""

    starts: NDArray[np.uint8]
    verdicts: NDArray[np.uint8]
    tags: NDArray[np.int64]
    full_at_ns: NDArray[np.int64]
    kissed_ns: NDArray[np.int64]
    secrets: NDArray[np.int64]
    limits: NDArray[np.int64]
    rate_state: NDArray[np.int64]
    saved_keys: NDArray[np.int64]
    saved_held: NDArray[np.int64]
    saved_ns: NDArray[np.int64]


class Memory(NamedTuple):
    """All arrays of one loop. `octets` and `words`, `peers` and `peer_words` are two views of the same memory."""

    octets: NDArray[np.uint8]
    words: NDArray[np.uint32]
    peers: NDArray[np.uint8]
    control: NDArray[np.int64]
    out_control: NDArray[np.int64]
    inbound: NDArray[np.int64]
    outbound: NDArray[np.int64]
    vectors_in: NDArray[np.int64]
    vectors_out: NDArray[np.int64]
    clock: NDArray[np.int64]
    polled: NDArray[np.int64]
    page: NDArray[np.int64]
    addresses: NDArray[np.int64]
    state: NDArray[np.int64]
    settings: NDArray[np.int64]
    starts: NDArray[np.int64]
    verdicts: NDArray[np.int64]
    plan: NDArray[np.int64]
    rx_raw: NDArray[np.int64]
    rx_kind: NDArray[np.int64]
    receive: NDArray[np.int64]
    sent: NDArray[np.int64]
    last: NDArray[np.int64]
    found: NDArray[np.int64]
    watch: NDArray[np.int64]
    pairs: NDArray[np.int64]
    refused: NDArray[np.int64]
    templates: NDArray[np.int64]
    template_counters: NDArray[np.int64]
    tally: NDArray[np.int64]
    edges: NDArray[np.int64]
    departed: NDArray[np.uint8]
    departed_control: NDArray[np.int64]
    departed_in: NDArray[np.int64]
    departed_vectors: NDArray[np.int64]
    card_watch: NDArray[np.int64]
    card_pairs: NDArray[np.int64]
    card_rate: NDArray[np.float64]
