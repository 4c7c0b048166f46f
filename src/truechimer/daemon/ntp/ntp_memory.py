"""The memory of a batch of datagrams and the system calls on it, in machine code: the one file with raw addresses.

It decides nothing: `serve.ntp.packet_kernel` answers, `serve.rx_watch` judges stamps, `daemon.ntp.ntp_loop_compiled`
says what is served. Source: recvmmsg(2), sendto(2), sendmmsg(2), poll(2), clock_gettime(2), pread(2).

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
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.daemon.ntp.control_messages import FOUND_WORDS
from truechimer.daemon.ntp.departure_kernel import note_departures
from truechimer.daemon.ntp.ntp_batch import count_sent, judge
from truechimer.daemon.ntp.ntp_layout import (
    ANSWER_OCTETS,
    ASKED,
    AT_CLOCK,
    AT_DEPARTED,
    AT_IN,
    AT_OCTETS,
    AT_OUT,
    AT_PAGE,
    AT_PEERS,
    AT_POLL,
    BATCH,
    BROKEN,
    CARD_CLOCK,
    CLOCK_MONOTONIC_RAW,
    CLOCK_REALTIME,
    CONTROL,
    CONTROL_LENGTH,
    CONTROL_ROOM,
    DATAGRAM_ROOM,
    DEADLINE,
    DEADLINE_RAW,
    DEPARTED_CONTROL_ROOM,
    DEPARTED_ROOM,
    DOUBT,
    DOUBTED,
    EAGAIN,
    EMPTY_RAW,
    FAILED,
    FAILED_TOO_OFTEN,
    FROM_RAW,
    HANDED_OVER,
    HEADER_STRIDE,
    IDLE_TURN_MS,
    JUDGED,
    LAST_RX_RAW,
    LINE_OCTETS,
    MORE,
    MOST_STARTS,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    NAME_LENGTH,
    NAME_OCTETS,
    NARROW_CARD_NS,
    NARROW_ENOUGH_NS,
    NOT_ANSWERED,
    NOT_BEFORE_RAW,
    NS_PER_S,
    OUT_CONTROL_ROOM,
    PAGE_APART,
    PAGE_AT,
    PAGE_CHANGED,
    PAGE_FILE,
    PAGE_FIRST,
    PAGE_LOOK_EVERY_NS,
    PAGE_LOOK_OCTETS,
    PAGE_LOOKED_RAW,
    PAGE_SECOND,
    PAIR_AHEAD,
    PAIRWISE,
    PEER_ROOM,
    PEER_STRIDE,
    PENDING,
    POLLERR,
    POLLIN,
    QUEUE_STARTS,
    SETTING_WORDS,
    SHORT_BATCH,
    SOCKET,
    STARTS,
    STATE_WORDS,
    STRIDE,
    T_RECEIVE_FAILED,
    T_SEND_FAILED,
    TEMPLATE_ENDED,
    TEMPLATES,
    TO_PYTHON_COUNT,
    TRIPLES,
    UNTIL_RAW,
    USER_RAW,
    VECTORS,
    WITH_HEADER,
    WITHOUT_TIME,
    Memory,
)
from truechimer.daemon.ntp.pair_kernel import note_pair_took
from truechimer.kernel import borrowing_kernel, foreign
from truechimer.serve import rx_watch
from truechimer.serve.ntp import packet_kernel
from truechimer.serve.ntp.packet_kernel import write_transmit, write_unknown_transmit
from truechimer.serve.rx_watch import BELIEVED, FAR_PAST, NEWEST, judge_batch, note_pair


def addresses_of(array: NDArray[Any], stride: int) -> NDArray[np.int64]:
    """Return the address of each record of an array."""
    return np.int64(array.ctypes.data) + np.arange(BATCH, dtype=np.int64) * stride


def in_lines(*shape: int) -> NDArray[np.int64]:
    """Return an array of whole numbers that begins where a line of the processor's cache does: a header of eight then
    lies in one of them, for the kernel too.
    """
    array = np.zeros(shape, dtype=np.int64)
    if array.ctypes.data % LINE_OCTETS == 0:
        return array
    octets = np.zeros(math.prod(shape) * 8 + LINE_OCTETS, dtype=np.uint8)
    start = -octets.ctypes.data % LINE_OCTETS
    return octets[start : start + math.prod(shape) * 8].view(np.int64).reshape(shape)


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
    inbound, outbound = in_lines(BATCH, 8), in_lines(BATCH, 8)
    vectors_in[:, 0] = vectors_out[:, 0] = addresses_of(octets, STRIDE)
    vectors_in[:, 1], vectors_out[:, 1] = DATAGRAM_ROOM, ANSWER_OCTETS
    for headers, vectors in ((inbound, vectors_in), (outbound, vectors_out)):
        headers[:, 0], headers[:, NAME_LENGTH] = addresses_of(peers, PEER_STRIDE), PEER_ROOM
        headers[:, 2], headers[:, VECTORS] = addresses_of(vectors, 16), 1
    inbound[:, CONTROL], inbound[:, CONTROL_LENGTH] = addresses_of(control, CONTROL_ROOM), CONTROL_ROOM
    departed = np.zeros((BATCH, DEPARTED_ROOM), dtype=np.uint8)
    departed_control = np.zeros((BATCH, DEPARTED_CONTROL_ROOM // 8), dtype=np.int64)
    departed_in, departed_vectors = np.zeros((BATCH, 8), dtype=np.int64), np.zeros((BATCH, 2), dtype=np.int64)
    departed_vectors[:, 0], departed_vectors[:, 1] = addresses_of(departed, DEPARTED_ROOM), DEPARTED_ROOM
    departed_in[:, 2], departed_in[:, VECTORS] = addresses_of(departed_vectors, 16), 1
    departed_in[:, CONTROL] = addresses_of(departed_control, DEPARTED_CONTROL_ROOM)
    clock, polled, page = np.zeros(2, np.int64), np.zeros(1, np.int64), np.zeros(PAGE_LOOK_OCTETS // 8, np.int64)
    pointed = (inbound, outbound, octets, peers, clock, polled, page, out_control, departed_in)
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
        np.zeros((BATCH, 3), dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        np.zeros(FOUND_WORDS, dtype=np.int64),
        watch,
        pairs,
        np.zeros(rx_watch.VERDICTS, dtype=np.int64),
        np.zeros((TEMPLATES, packet_kernel.TEMPLATE_LENGTH), dtype=np.int64),
        np.full((TEMPLATES, 2), -1, dtype=np.int64),
        tally,
        edges,
        departed,
        departed_control,
        departed_in,
        departed_vectors,
        *rx_watch.new_watch(),
        np.zeros(1, dtype=np.float64),
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


@borrowing_kernel
def read_clock(which: int, clock: Any, at_clock: int) -> int:
    """Read a clock of the host (ns), through the two words `clock`, which lie at `at_clock`."""
    _clock_gettime(which, at_clock)
    return int(clock[0] * NS_PER_S + clock[1])


@borrowing_kernel
def would_block(memory: Any) -> bool:
    """Return whether the last call failed because nothing waits; the error's number is this thread's own, four
    octets.
    """
    memory.clock[0] = 0
    _memcpy(memory.addresses[AT_CLOCK], _errno_location(), 4)
    return bool(memory.clock[0] == EAGAIN)


@borrowing_kernel
def take_card_pair(memory: Any) -> None:
    """Read the card's clock beside the raw counter, of up to five triples the narrowest, into the card's watch."""
    clock, at_clock, which = memory.clock, memory.addresses[AT_CLOCK], memory.settings[CARD_CLOCK]
    best_raw = best_card = 0
    best_width = -1
    for _ in range(TRIPLES):
        before = read_clock(CLOCK_MONOTONIC_RAW, clock, at_clock)
        clock[0] = clock[1] = 0  # a card that is gone leaves them
        card = read_clock(which, clock, at_clock)
        width = read_clock(CLOCK_MONOTONIC_RAW, clock, at_clock) - before
        if best_width < 0 or width < best_width:
            best_raw, best_card, best_width = before + width // 2, card, width
        if width <= NARROW_CARD_NS:
            break
    note_pair(memory.card_watch, memory.card_pairs, memory.card_rate[0], best_raw, best_card, best_width)


@borrowing_kernel
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
    if memory.settings[CARD_CLOCK] != 0:
        take_card_pair(memory)
    if said != BELIEVED:
        memory.state[DOUBTED] = 1
    return int(said)


@borrowing_kernel
def wait(memory: Any, rate: float) -> bool:
    """Wait for a datagram for a while, and take a pair; return whether one may wait."""
    state, settings = memory.state, memory.settings
    looked = memory.pairs[memory.watch[NEWEST], 0]
    memory.polled[0] = settings[SOCKET] | POLLIN << 32
    ready = _poll(memory.addresses[AT_POLL], 1, IDLE_TURN_MS)
    if memory.polled[0] >> 48 & POLLERR != 0:
        state[ASKED] = max(state[ASKED], 1)  # something stands on the error queue, and wakes us until it is taken
    take_pair(memory, rate)
    if ready == 0:
        state[EMPTY_RAW] = max(state[EMPTY_RAW], looked)
    return bool(ready > 0)


@borrowing_kernel
def receive(memory: Any, rate: float) -> int:
    """Take what waits, up to a batch, and judge its stamps; return how many came, 0 for none, -1 for a failure. Where
    the last batch was of one it waits first; so who is asked much makes one call for a batch, and who is not asked is
    ended by a signal in a call that takes nothing.
    """
    state, settings, addresses = memory.state, memory.settings, memory.addresses
    if state[MORE] == 0 and not wait(memory, rate):
        return 0
    looked = memory.pairs[memory.watch[NEWEST], 0]
    for i in range(BATCH):
        memory.inbound[i, CONTROL_LENGTH] = CONTROL_ROOM
        memory.inbound[i, NAME_LENGTH] = PEER_ROOM
    came = int(_recvmmsg(settings[SOCKET], addresses[AT_IN], BATCH, MSG_DONTWAIT, 0))
    if came <= 0:
        state[MORE] = state[STARTS] = 0
        if came < 0 and not would_block(memory):
            return -1
        state[EMPTY_RAW] = max(state[EMPTY_RAW], looked)
        return 0
    came = min(came, BATCH)
    user_raw = read_clock(CLOCK_MONOTONIC_RAW, memory.clock, addresses[AT_CLOCK])
    take_pair(memory, rate)
    not_before = state[EMPTY_RAW]
    state[MORE] = came > 1
    if came < BATCH:
        state[EMPTY_RAW], state[STARTS] = looked, 0
    else:
        # A queue holds so many and no more: what is taken now came after the batch that was taken so long ago began.
        starts, most = state[STARTS], settings[QUEUE_STARTS]
        if starts >= most:
            not_before = max(not_before, memory.starts[(starts - most) % MOST_STARTS])
        memory.starts[starts % MOST_STARTS] = looked
        state[STARTS] = starts + 1
    state[PENDING], state[USER_RAW], state[NOT_BEFORE_RAW] = came, user_raw, not_before
    state[JUDGED] = judge_batch(memory.watch, memory.pairs, rate, user_raw, not_before)
    return came


@borrowing_kernel
def take_departures(memory: Any, rules: Any, rate: float, counts: Any) -> None:
    """Take what the kernel says of departures, a batch at most, without waiting for any; note the stamps in it."""
    state, inbound = memory.state, memory.departed_in
    for k in range(BATCH):
        inbound[k, CONTROL_LENGTH] = DEPARTED_CONTROL_ROOM
    came = _recvmmsg(memory.settings[SOCKET], memory.addresses[AT_DEPARTED], BATCH, MSG_DONTWAIT | MSG_ERRQUEUE, 0)
    if came <= 0:
        state[ASKED] = 0  # what comes later wakes the wait for datagrams
        return
    user_raw = read_clock(CLOCK_MONOTONIC_RAW, memory.clock, memory.addresses[AT_CLOCK])
    take_pair(memory, rate)
    note_departures(memory, rules, rate, user_raw, min(int(came), BATCH), counts)


@borrowing_kernel
def page_has_changed(memory: Any) -> bool:
    """Return whether another page than the one that Python read stands in the file. A file that cannot be read keeps
    the last page.
    """
    state, settings = memory.state, memory.settings
    now = memory.pairs[memory.watch[NEWEST], 0]
    if settings[PAGE_FILE] < 0 or 0 <= now - state[PAGE_LOOKED_RAW] < PAGE_LOOK_EVERY_NS:
        return False
    state[PAGE_LOOKED_RAW] = now
    wanted = settings[PAGE_APART] + 8
    read = int(_pread(settings[PAGE_FILE], memory.addresses[AT_PAGE], wanted, settings[PAGE_AT]))
    if read != wanted:
        return False
    first, second = memory.page[0], memory.page[settings[PAGE_APART] // 8]
    return bool(first != state[PAGE_FIRST] or second != state[PAGE_SECOND])


@borrowing_kernel
def send(memory: Any, line: Any, line_rate: Any, counts: Any) -> None:
    """Stamp and send the batch's answers: the transmit stamp is the last thing before the send. In a batch of more than
    SHORT_BATCH a listener may have one reading of the clock for two neighbours, and the second's stamp as far ahead of
    it as it leaves at least.

    A send drives nearly all that the loop holds out of the nearest cache: what can be done after the last one is not
    done after each (`ntp_batch.count_sent`).
    """
    addresses, plan, words, receive = memory.addresses, memory.plan, memory.words, memory.receive
    clock, last, sent, state = memory.clock, memory.last, memory.sent, memory.state
    at_clock, at_octets, at_peers = addresses[AT_CLOCK], addresses[AT_OCTETS], addresses[AT_PEERS]
    descriptor, came = memory.settings[SOCKET], state[PENDING]
    pairwise = memory.settings[PAIRWISE] != 0 and came > SHORT_BATCH
    raw = before = 0  # `before`: the reading that two neighbours shared, where nothing else was done since
    is_second = False
    for i in range(came):
        planned = plan[i]
        if planned == NOT_ANSWERED:
            is_second, before = False, 0
            continue
        if is_second:
            is_second, leaves, before = False, raw + state[PAIR_AHEAD], raw
        else:
            raw = read_clock(CLOCK_MONOTONIC_RAW, clock, at_clock)
            if before != 0:
                note_pair_took(state, raw - before)
            is_second, leaves, before = pairwise, raw, 0
        if planned & WITHOUT_TIME == 0:
            write_transmit(words, i, line, line_rate, leaves, receive, last)
        else:
            write_unknown_transmit(words, i)
        sent[i, 0], sent[i, 1], sent[i, 2] = leaves, last[0], last[1]
        if planned & WITH_HEADER == 0:
            at, to = at_octets + i * STRIDE, at_peers + i * PEER_STRIDE
            was_sent = _sendto(descriptor, at, ANSWER_OCTETS, MSG_DONTWAIT, to, planned & NAME_OCTETS) == ANSWER_OCTETS
        else:
            was_sent = _sendmmsg(descriptor, addresses[AT_OUT] + i * HEADER_STRIDE, 1, MSG_DONTWAIT) == 1
        if not was_sent:
            counts[memory.tally[T_SEND_FAILED]] += 1
            plan[i] = NOT_ANSWERED
            is_second, before = False, 0  # what did not leave took no time: its neighbour has a reading of its own


@borrowing_kernel
def begin(memory: Any, rate: float) -> None:
    """Take a pair before anything is served (again), and judge the stamps of a batch that waits by it."""
    state = memory.state
    take_pair(memory, rate)
    state[DOUBTED] = 0
    if state[PENDING] > 0:
        state[JUDGED] = judge_batch(memory.watch, memory.pairs, rate, state[USER_RAW], state[NOT_BEFORE_RAW])


@borrowing_kernel
def serve(memory: Any, rules: Any, line: Any, line_rate: Any, rate: float, counts: Any) -> int:
    """Take batches and answer them until something needs Python; return why.

    A batch that was received and not answered stays PENDING, and is answered first in the next call: so what Python
    finds out meanwhile (a new page, a clock that was stepped) counts for it already.
    """
    state = memory.state
    begin(memory, rate)
    while True:
        if state[PENDING] == 0:
            if memory.pairs[memory.watch[NEWEST], 0] >= state[DEADLINE_RAW]:
                return DEADLINE
            if state[ASKED] != 0:
                take_departures(memory, rules, rate, counts)
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
        send(memory, line, line_rate, counts)
        count_sent(memory, rules, counts)
        if state[TO_PYTHON_COUNT] > 0:
            return HANDED_OVER
        state[PENDING] = 0
