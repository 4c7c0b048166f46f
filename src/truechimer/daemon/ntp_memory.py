"""The memory of a batch of datagrams and the system calls on it, in machine code: the one file with raw addresses.

It decides nothing: `serve.ntp.packet_kernel` answers, `serve.rx_watch` judges stamps, `daemon.ntp_loop_compiled` says
what is served. Source: recvmmsg(2), sendto(2), sendmmsg(2), poll(2), clock_gettime(2), pread(2).

Obligations of every raw address, all of them kept here:
1. it is taken from a NumPy array that the same `Memory` holds, so the array lives as long as the address is used;
2. arrays are made once, never grown and never assigned anew; headers and vectors are written by `new_memory`, and
   `serve` changes of them only what the kernel overwrites (lengths of names and control) and what it says below;
3. each length given to the kernel is the room that is really there: `DATAGRAM_ROOM` octets of a datagram, `PEER_ROOM`
   of a name, `CONTROL_ROOM` of control messages; an answer is `ANSWER_OCTETS`, below every room;
4. a length that the kernel gives back is cut to its room before it is used as an index;
5. how many datagrams came is cut to the batch before it is used as a count.
"""

import ctypes
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from truechimer.daemon.control_messages import FOUND_WORDS, STAMP, read_control, write_answer_from
from truechimer.kernel import foreign, kernel
from truechimer.serve import rx_watch
from truechimer.serve.ntp import packet_kernel
from truechimer.serve.ntp.line_kernel import units_apart
from truechimer.serve.ntp.ntpv5 import OFFER
from truechimer.serve.ntp.packet_kernel import (
    ANSWER,
    EXTENSION_MALFORMED,
    HAS_TIME,
    HEADER_OCTETS,
    MAC,
    MAC_UNSUPPORTED,
    MALFORMED,
    NOT_ALLOWED,
    RATE_LIMITED,
    TO_PYTHON,
    admit,
    glance_at,
    is_allowed,
    save,
    tail_of,
    write_answer,
    write_transmit,
    write_unknown_transmit,
)
from truechimer.serve.ntp.rate_table import KISS, SILENCE
from truechimer.serve.rx_watch import BELIEVED, FAR_PAST, NEWEST, carried_over, judge_batch, note_pair

BATCH = 64
DATAGRAM_ROOM = 2048
STRIDE = DATAGRAM_ROOM + 64
"""Octets from one datagram to the next: not a power of two, or all of them would share a few places of the cache."""
PEER_ROOM = 28
PEER_STRIDE = 32
CONTROL_ROOM = 192
OUT_CONTROL_ROOM = 64
ANSWER_OCTETS = 48
HEADER_STRIDE = 64
SHORT_BATCH = 8
"""Up to so many answers each has a transmit stamp of its own, whatever the listener's option."""

UNIQUE_WITHIN_NS = 1_000
"""A receive stamp this close behind the one before it is moved to the next nanosecond after it."""

MSG_DONTWAIT = 0x40
MSG_TRUNC = 0x20
AF_INET = 2
MOST_HELD = 2**63 - 1
EAGAIN = 11
POLLIN = 1
CLOCK_REALTIME = 0
CLOCK_MONOTONIC_RAW = 4
NS_PER_S = 10**9
IDLE_TURN_MS = 20
"""House 4.7 asks for a pair every 100 ms; the shorter, the less can happen between two pairs unseen."""
TRIPLES = 5
NARROW_ENOUGH_NS = 1_000

# Words of a header (struct mmsghdr): name, its length, vector, how many, control, its length, flags, octets received.
NAME_LENGTH, VECTORS, CONTROL, CONTROL_LENGTH, FLAGS, RECEIVED = 1, 3, 4, 5, 6, 7

# Places of `addresses`.
AT_IN, AT_OUT, AT_OCTETS, AT_PEERS, AT_CLOCK, AT_POLL, AT_PAGE, AT_OUT_CONTROL = range(8)

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
    FULL,  # 1: the last batch was a full one, so more may wait
    DOUBTED,  # 1: a pair has cast doubt since Python looked
    STARTS,  # how many starts of full batches in a row are remembered
    LAST_RX_RAW,  # the last receive stamp, on the raw counter
    TO_PYTHON_COUNT,  # how many of the batch wait for Python
    ALLOWANCE,  # how many more may be handed to Python until the next return
    PAGE_FIRST,  # sequence numbers of the page's slots as Python read them
    PAGE_SECOND,
    FAILED,  # receives that failed in a row
) = range(17)
STATE_WORDS = 20

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
) = range(13)
SETTING_WORDS = 16
MOST_STARTS = 512

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
    T_REASONS,
) = range(11)

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
    stamps: NDArray[np.int64]
    rx_raw: NDArray[np.int64]
    rx_kind: NDArray[np.int64]
    receive: NDArray[np.int64]
    sent_at: NDArray[np.int64]
    last: NDArray[np.int64]
    found: NDArray[np.int64]
    watch: NDArray[np.int64]
    pairs: NDArray[np.int64]
    refused: NDArray[np.int64]
    templates: NDArray[np.int64]
    template_counters: NDArray[np.int64]
    tally: NDArray[np.int64]
    edges: NDArray[np.int64]


def addresses_of(array: NDArray[Any], stride: int) -> NDArray[np.int64]:
    """Return the address of each record of an array."""
    return np.int64(array.ctypes.data) + np.arange(BATCH, dtype=np.int64) * stride


def new_memory(tally: NDArray[np.int64], edges: NDArray[np.int64]) -> Memory:
    """Return the memory of a loop; `tally` says which counters count what, `edges` where the times to an answer are
    parted (ns).
    """
    words = np.zeros((BATCH, STRIDE // 4), dtype=np.uint32)
    octets = words.view(np.uint8)
    peers = np.zeros((BATCH, PEER_STRIDE), dtype=np.uint8)
    control = np.zeros((BATCH, CONTROL_ROOM // 8), dtype=np.int64)
    out_control = np.zeros((BATCH, OUT_CONTROL_ROOM // 8), dtype=np.int64)
    vectors_in, vectors_out = np.zeros((BATCH, 2), dtype=np.int64), np.zeros((BATCH, 2), dtype=np.int64)
    inbound, outbound = np.zeros((BATCH, 8), dtype=np.int64), np.zeros((BATCH, 8), dtype=np.int64)
    vectors_in[:, 0] = vectors_out[:, 0] = addresses_of(octets, STRIDE)
    vectors_in[:, 1], vectors_out[:, 1] = DATAGRAM_ROOM, ANSWER_OCTETS
    for headers, vectors in ((inbound, vectors_in), (outbound, vectors_out)):
        headers[:, 0], headers[:, NAME_LENGTH] = addresses_of(peers, PEER_STRIDE), PEER_ROOM
        headers[:, 2], headers[:, VECTORS] = addresses_of(vectors, 16), 1
    inbound[:, CONTROL], inbound[:, CONTROL_LENGTH] = addresses_of(control, CONTROL_ROOM), CONTROL_ROOM
    clock, polled, page = np.zeros(2, np.int64), np.zeros(1, np.int64), np.zeros(PAGE_LOOK_OCTETS // 8, np.int64)
    pointed = (inbound, outbound, octets, peers, clock, polled, page, out_control)
    watch, pairs = rx_watch.new_watch()
    state = np.zeros(STATE_WORDS, dtype=np.int64)
    state[NOT_BEFORE_RAW] = state[EMPTY_RAW] = state[LAST_RX_RAW] = FAR_PAST
    return Memory(
        octets,
        words,
        peers,
        control,
        out_control,
        inbound,
        outbound,
        vectors_in,
        vectors_out,
        clock,
        polled,
        page,
        np.array([each.ctypes.data for each in pointed], dtype=np.int64),
        state,
        np.zeros(SETTING_WORDS, dtype=np.int64),
        np.zeros(MOST_STARTS, dtype=np.int64),
        np.zeros(BATCH, dtype=np.int64),
        np.zeros(BATCH, dtype=np.int64),
        np.zeros(BATCH, dtype=np.int64),
        np.zeros(BATCH, dtype=np.int64),
        np.zeros((BATCH, 6), dtype=np.int64),
        np.zeros((BATCH, 2), dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        np.zeros(FOUND_WORDS, dtype=np.int64),
        watch,
        pairs,
        np.zeros(rx_watch.VERDICTS, dtype=np.int64),
        np.zeros((TEMPLATES, packet_kernel.TEMPLATE_LENGTH), dtype=np.int64),
        np.full((TEMPLATES, 2), -1, dtype=np.int64),
        tally,
        edges,
    )


def _foreign(name: str, returns: str, *takes: str) -> Any:
    """Return a function of the C library: for machine code, or, where nothing is compiled, for plain Python."""
    made = foreign(name, returns, *takes)
    if made is not None:
        return made
    types = {"i4": ctypes.c_int, "u4": ctypes.c_uint, "i8": ctypes.c_ssize_t, "u8": ctypes.c_size_t}
    plain = getattr(ctypes.CDLL(None), name)
    plain.restype, plain.argtypes = types[returns], [types[each] for each in takes]
    return plain


_recvmmsg = _foreign("recvmmsg", "i4", "i4", "u8", "u4", "i4", "u8")
_sendmmsg = _foreign("sendmmsg", "i4", "i4", "u8", "u4", "i4")
_sendto = _foreign("sendto", "i8", "i4", "u8", "u8", "i4", "u8", "u4")
_poll = _foreign("poll", "i4", "u8", "u8", "i4")
_clock_gettime = _foreign("clock_gettime", "i4", "i4", "u8")
_pread = _foreign("pread", "i8", "i4", "u8", "u8", "i8")
_errno_location = _foreign("__errno_location", "u8")
_memcpy = _foreign("memcpy", "u8", "u8", "u8", "u8")


@kernel
def read_clock(which: int, clock: Any, at_clock: int) -> int:
    """Read a clock of the host (ns), through the two words `clock`, which lie at `at_clock`."""
    _clock_gettime(which, at_clock)
    return int(clock[0] * NS_PER_S + clock[1])


@kernel
def would_block(memory: Any) -> bool:
    """Return whether the last call failed because nothing waits; the error's number is this thread's own, four
    octets.
    """
    memory.clock[0] = 0
    _memcpy(memory.addresses[AT_CLOCK], _errno_location(), 4)
    return bool(memory.clock[0] == EAGAIN)


@kernel
def take_pair(memory: Any, rate: float) -> int:
    """Read both clocks, of up to five triples the narrowest, into the watch; return what `note_pair` says."""
    clock, at_clock = memory.clock, memory.addresses[AT_CLOCK]
    best_raw = best_realtime = 0
    best_width = -1
    for _ in range(TRIPLES):
        before = read_clock(CLOCK_MONOTONIC_RAW, clock, at_clock)
        realtime = read_clock(CLOCK_REALTIME, clock, at_clock)
        width = read_clock(CLOCK_MONOTONIC_RAW, clock, at_clock) - before
        if best_width < 0 or width < best_width:
            best_raw, best_realtime, best_width = before + width // 2, realtime, width
        if width <= NARROW_ENOUGH_NS:
            break
    said = note_pair(memory.watch, memory.pairs, rate, best_raw, best_realtime, best_width)
    if said != BELIEVED:
        memory.state[DOUBTED] = 1
    return int(said)


@kernel
def receive(memory: Any, rate: float) -> int:
    """Wait for datagrams where none are known to wait, take a batch and judge its stamps; return how many came, 0 for
    none, -1 for a failure.
    """
    state, settings, addresses = memory.state, memory.settings, memory.addresses
    if state[FULL] == 0:
        looked = memory.pairs[memory.watch[NEWEST], 0]
        memory.polled[0] = settings[SOCKET] | POLLIN << 32
        ready = _poll(addresses[AT_POLL], 1, IDLE_TURN_MS)
        take_pair(memory, rate)
        if ready <= 0:
            if ready == 0:
                state[EMPTY_RAW] = max(state[EMPTY_RAW], looked)
            return 0
    looked = memory.pairs[memory.watch[NEWEST], 0]
    for i in range(BATCH):
        memory.inbound[i, CONTROL_LENGTH] = CONTROL_ROOM
        memory.inbound[i, NAME_LENGTH] = PEER_ROOM
    came = int(_recvmmsg(settings[SOCKET], addresses[AT_IN], BATCH, MSG_DONTWAIT, 0))
    if came <= 0:
        state[FULL] = 0
        if came < 0 and not would_block(memory):
            return -1
        state[EMPTY_RAW] = max(state[EMPTY_RAW], looked)
        return 0
    came = min(came, BATCH)
    user_raw = read_clock(CLOCK_MONOTONIC_RAW, memory.clock, addresses[AT_CLOCK])
    take_pair(memory, rate)
    not_before = state[EMPTY_RAW]
    if came < BATCH:
        state[EMPTY_RAW], state[FULL], state[STARTS] = looked, 0, 0
    else:
        # A queue holds so many and no more: what is taken now came after the batch that was taken so long ago began.
        starts, most = state[STARTS], settings[QUEUE_STARTS]
        if starts >= most:
            not_before = max(not_before, memory.starts[(starts - most) % MOST_STARTS])
        memory.starts[starts % MOST_STARTS] = looked
        state[STARTS], state[FULL] = starts + 1, 1
    state[PENDING], state[USER_RAW], state[NOT_BEFORE_RAW] = came, user_raw, not_before
    state[JUDGED] = judge_batch(memory.watch, memory.pairs, rate, user_raw, not_before)
    return came


@kernel
def page_has_changed(memory: Any) -> bool:
    """Return whether another page than the one that Python read stands in the file. A file that cannot be read keeps
    the last page.
    """
    settings = memory.settings
    if settings[PAGE_FILE] < 0:
        return False
    wanted = settings[PAGE_APART] + 8
    read = int(_pread(settings[PAGE_FILE], memory.addresses[AT_PAGE], wanted, settings[PAGE_AT]))
    if read != wanted:
        return False
    first, second = memory.page[0], memory.page[settings[PAGE_APART] // 8]
    return bool(first != memory.state[PAGE_FIRST] or second != memory.state[PAGE_SECOND])


@kernel
def ask(settings: Any, rules: Any, peer: Any, raw: int) -> int:
    """Return what becomes of a question by the door's rules, and count it: ANSWER, SAYS_RATE, SAYS_DENY, or the place
    of the reason for silence: `door_rules.Gatekeeper.ask`.
    """
    at, length = (4, 4) if peer[0] == AF_INET else (8, 16)
    if settings[EVERYBODY] == 0 and is_allowed(peer, at, length, rules.starts, rules.verdicts) == 0:
        return SAYS_DENY if settings[DENIED_HEARS] != 0 else NOT_ALLOWED
    if settings[RATES] == 0:
        return ANSWER
    if settings[RATES_LOOPBACK] == 0 and is_loopback(peer, at, length):
        return ANSWER
    verdict = admit(
        peer,
        at,
        length,
        raw,
        rules.tags,
        rules.full_at_ns,
        rules.kissed_ns,
        rules.secrets,
        rules.limits,
        rules.rate_state,
    )
    if verdict == SILENCE:
        return RATE_LIMITED
    return SAYS_RATE if verdict == KISS else ANSWER


@kernel
def is_loopback(peer: Any, at: int, length: int) -> bool:
    """Return whether an address of 4 or 16 octets never left this machine: `door_rules.is_loopback`."""
    if length == 16:
        for k in range(10):
            if peer[at + k] != 0:
                return False
        if peer[at + 10] != 255 or peer[at + 11] != 255:
            for k in range(10, 15):
                if peer[at + k] != 0:
                    return False
            return bool(peer[at + 15] == 1)
    return bool(peer[at + length - 4] == 127)


@kernel
def judge(memory: Any, rules: Any, line: Any, line_rate: Any, rate: float, counts: Any) -> None:
    """Judge each datagram of the batch, and turn those that are plain requests into answers where they stand."""
    state, settings, tally, peers = memory.state, memory.settings, memory.tally, memory.peers
    octets, words, control, out_control = memory.octets, memory.words, memory.control, memory.out_control
    inbound, outbound, found, stamps = memory.inbound, memory.outbound, memory.found, memory.stamps
    verdicts, kinds, rx_raw, receive = memory.verdicts, memory.rx_kind, memory.rx_raw, memory.receive
    watch, pairs, templates = memory.watch, memory.pairs, memory.templates
    saved_keys, saved_held = rules.saved_keys, rules.saved_held
    at_out_control = memory.addresses[AT_OUT_CONTROL]
    state[TO_PYTHON_COUNT] = 0
    believed = state[JUDGED]
    user_raw, not_before = state[USER_RAW], state[NOT_BEFORE_RAW]
    for i in range(state[PENDING]):
        verdicts[i] = NOT_ALLOWED
        read_control(control, i, inbound[i, CONTROL_LENGTH], found)
        stamps[i] = found[STAMP]
        if inbound[i, FLAGS] & MSG_TRUNC != 0:
            counts[tally[T_RECEIVED]] += 1
            counts[tally[T_TRUNCATED]] += 1
            continue
        length = min(inbound[i, RECEIVED] & 0xFFFF_FFFF, DATAGRAM_ROOM)
        port = np.int64(peers[i, 2]) << 8 | np.int64(peers[i, 3])
        verdict = glance_at(octets, i, length, port, settings[NEWEST_VERSION])
        if verdict == ANSWER and length > HEADER_OCTETS:
            tail = tail_of(octets, i, length, np.int64(octets[i, 0]) >> 3 & 7)
            if tail == MALFORMED:
                verdict = EXTENSION_MALFORMED
            elif tail == MAC:
                verdict = TO_PYTHON if settings[HAS_KEYS] != 0 else MAC_UNSUPPORTED
        if (
            verdict == ANSWER
            and settings[NEWEST_VERSION] > packet_kernel.NEWEST_VERSION
            and words[i, 4] == OFFER_FIRST
            and words[i, 5] == OFFER_SECOND
        ):
            verdict = TO_PYTHON
        if verdict == TO_PYTHON:
            if state[ALLOWANCE] > 0:
                state[ALLOWANCE] -= 1
                state[TO_PYTHON_COUNT] += 1
                verdicts[i] = TO_PYTHON
            else:
                counts[tally[T_RECEIVED]] += 1
                counts[tally[T_OVER_BUDGET]] += 1
            continue
        counts[tally[T_RECEIVED]] += 1
        doubt, raw = believed, user_raw
        if believed == BELIEVED:
            doubt, raw = carried_over(watch, pairs, rate, stamps[i], user_raw, not_before)
        if doubt == BELIEVED:
            counts[tally[T_KERNEL]] += 1
        else:
            counts[tally[T_USER]] += 1
            memory.refused[doubt] += 1
        kind = 0 if doubt == BELIEVED else 1
        if verdict == ANSWER or verdict == EXTENSION_MALFORMED or verdict == MAC_UNSUPPORTED:
            # what is a question counts for who asked, also where it is not answered
            admitted = ask(settings, rules, peers[i], user_raw)
            if admitted >= 0:
                verdict = admitted
            elif verdict == ANSWER and admitted != ANSWER:
                kind += KISS_RATE_ROWS if admitted == SAYS_RATE else KISS_DENY_ROWS
        if verdict != ANSWER:
            counts[tally[T_REASONS + verdict]] += 1
            continue
        if 0 <= state[LAST_RX_RAW] - raw < UNIQUE_WITHIN_NS:
            raw = state[LAST_RX_RAW] + 1  # the receive stamp is what a client's next request names: no two are equal
        state[LAST_RX_RAW] = raw
        verdicts[i], rx_raw[i], kinds[i] = ANSWER, raw, kind
        write_answer(words, i, templates[kind], line, line_rate, raw, receive, saved_keys, saved_held)
        info = 0
        if settings[PACKET_INFO_WANTED] != 0:
            info = write_answer_from(control, out_control, i, found)
        outbound[i, NAME_LENGTH] = inbound[i, NAME_LENGTH] & 0xFFFF_FFFF
        outbound[i, CONTROL] = at_out_control + i * OUT_CONTROL_ROOM if info > 0 else 0
        outbound[i, CONTROL_LENGTH] = info


@kernel
def send(memory: Any, rules: Any, line: Any, line_rate: Any, counts: Any) -> None:
    """Stamp and send the batch's answers: the transmit stamp is the last thing before the send. In a batch of more than
    SHORT_BATCH a listener may have one reading of the clock for two neighbours.
    """
    # What is used for each packet is taken out of `memory` first: a call that is given all of it copies all of it.
    settings, addresses, tally, clock = memory.settings, memory.addresses, memory.tally, memory.clock
    words, receive, last, outbound = memory.words, memory.receive, memory.last, memory.outbound
    verdicts, kinds, templates, rx_raw = memory.verdicts, memory.rx_kind, memory.templates, memory.rx_raw
    template_counters, edges, sent_at = memory.template_counters, memory.edges, memory.sent_at
    saved_keys, saved_held, saved_ns = rules.saved_keys, rules.saved_held, rules.saved_ns
    at_clock, at_octets, at_peers, at_out = (
        addresses[AT_CLOCK],
        addresses[AT_OCTETS],
        addresses[AT_PEERS],
        addresses[AT_OUT],
    )
    came, descriptor = memory.state[PENDING], settings[SOCKET]
    plain = settings[PACKET_INFO_WANTED] == 0
    pairwise = settings[PAIRWISE] != 0 and came > SHORT_BATCH
    i = 0
    while i < came:
        if verdicts[i] != ANSWER:
            i += 1
            continue
        count = 2 if pairwise and i + 1 < came and verdicts[i + 1] == ANSWER else 1
        raw = read_clock(CLOCK_MONOTONIC_RAW, clock, at_clock)
        for one in range(i, i + count):
            if templates[kinds[one], HAS_TIME] != 0:
                write_transmit(words, one, line, line_rate, raw, receive, last)
                sent_at[one, 0], sent_at[one, 1] = last[0], last[1]
            else:
                write_unknown_transmit(words, one)
        if count == 1 and plain:
            at, to = at_octets + i * STRIDE, at_peers + i * PEER_STRIDE
            sent = _sendto(descriptor, at, ANSWER_OCTETS, MSG_DONTWAIT, to, outbound[i, NAME_LENGTH])
            done = 1 if sent == ANSWER_OCTETS else 0
        else:
            # of two of which one was sent the other has its turn again, with a stamp of its own
            done = max(int(_sendmmsg(descriptor, at_out + i * HEADER_STRIDE, count, MSG_DONTWAIT)), 0)
        if done == 0:
            counts[tally[T_SEND_FAILED]] += 1
            i += 1
            continue
        for one in range(i, i + done):
            kind = kinds[one]
            counts[template_counters[kind, 0]] += 1
            if template_counters[kind, 1] >= 0:
                counts[template_counters[kind, 1]] += 1
            if receive[one, 2] != 0:
                # how long after its receive stamp it left: RFC 9769 section 2
                held = units_apart(sent_at[one, 0], sent_at[one, 1], receive[one, 0], receive[one, 1])
                key = (receive[one, 0] & 0x7FFF_FFFF) << 32 | receive[one, 1]
                save(key, held & MOST_HELD, raw, saved_keys, saved_held, saved_ns)
            if kind % KINDS == 0:
                took = max(raw - rx_raw[one], 0)
                place = 0
                while place < edges.shape[0] and edges[place] < took:
                    place += 1
                counts[tally[T_ANSWERED_FIRST] + place] += 1
                counts[tally[T_ANSWERED_SUM]] += took
        i += done


@kernel
def begin(memory: Any, rate: float) -> None:
    """Take a pair before `serve` is called (again), and judge the stamps of a batch that waits by it."""
    state = memory.state
    take_pair(memory, rate)
    state[DOUBTED] = 0
    if state[PENDING] > 0:
        state[JUDGED] = judge_batch(memory.watch, memory.pairs, rate, state[USER_RAW], state[NOT_BEFORE_RAW])


@kernel
def serve(memory: Any, rules: Any, line: Any, line_rate: Any, rate: float, counts: Any) -> int:
    """Take batches and answer them until something needs Python; return why.

    A batch that was received and not answered stays PENDING, and is answered first in the next call: so what Python
    finds out meanwhile (a new page, a clock that was stepped) counts for it already.
    """
    state = memory.state
    while True:
        if state[PENDING] == 0:
            if memory.pairs[memory.watch[NEWEST], 0] >= state[DEADLINE_RAW]:
                return DEADLINE
            came = receive(memory, rate)
            if came < 0:
                state[FAILED] += 1
                counts[memory.tally[T_RECEIVE_FAILED]] += 1
                if state[FAILED] >= FAILED_TOO_OFTEN:
                    return BROKEN
            if came > 0:
                state[FAILED] = 0
        if state[DOUBTED] != 0:
            return DOUBT
        if page_has_changed(memory):
            return PAGE_CHANGED
        if state[PENDING] == 0:
            continue
        now = memory.pairs[memory.watch[NEWEST], 0]
        if now > state[UNTIL_RAW] or now < state[FROM_RAW]:
            return TEMPLATE_ENDED
        judge(memory, rules, line, line_rate, rate, counts)
        send(memory, rules, line, line_rate, counts)
        if state[TO_PYTHON_COUNT] > 0:
            return HANDED_OVER
        state[PENDING] = 0
