"""A batch of datagrams judged: who is answered, with what receive stamp, by which template; in machine code.

It makes no system call and uses no address. Source: `house.md` 4.7; the order of the questions is that of
`ntp_loop.NtpLoop`, which is the reference.
"""

from typing import Any

import numpy as np

from truechimer.daemon.ntp.card_kernel import judge_cards, received_by_card
from truechimer.daemon.ntp.control_messages import NO_STAMP, STAMP, read_control, write_answer_from
from truechimer.daemon.ntp.departure_kernel import ask_departure
from truechimer.daemon.ntp.ntp_layout import (
    AF_INET,
    ALLOWANCE,
    ANSWERED,
    AT_OUT_CONTROL,
    CARD_CLOCK,
    CARD_JUDGED,
    CONTROL,
    CONTROL_LENGTH,
    DATAGRAM_ROOM,
    DENIED_HEARS,
    DEPARTURES,
    EVERYBODY,
    FLAGS,
    HAS_KEYS,
    JUDGED,
    KINDS,
    KISS_DENY_ROWS,
    KISS_RATE_ROWS,
    LAST_RX_RAW,
    MOST_HELD,
    MSG_TRUNC,
    NAME_LENGTH,
    NAME_OCTETS,
    NEWEST_VERSION,
    NOT_ANSWERED,
    NOT_BEFORE_RAW,
    OFFER_FIRST,
    OFFER_SECOND,
    OUT_CONTROL_ROOM,
    PACKET_INFO_WANTED,
    PENDING,
    RATES,
    RATES_LOOPBACK,
    RECEIVED,
    REFUSED,
    SAYS_DENY,
    SAYS_RATE,
    STAMPS_LEFT,
    T_ANSWERED_FIRST,
    T_ANSWERED_SUM,
    T_ASKED,
    T_CARD,
    T_KERNEL,
    T_OVER_BUDGET,
    T_REASONS,
    T_RECEIVED,
    T_TRUNCATED,
    T_USER,
    TO_PYTHON_COUNT,
    UNIQUE_WITHIN_NS,
    USER_RAW,
    WITH_HEADER,
    WITHOUT_TIME,
)
from truechimer.kernel import borrowing_kernel
from truechimer.serve.ntp import packet_kernel
from truechimer.serve.ntp.line_kernel import units_apart
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
    correct,
    glance_at,
    is_allowed,
    tail_of,
    write_answer,
)
from truechimer.serve.ntp.rate_table import KISS, SILENCE
from truechimer.serve.rx_watch import BELIEVED, carried_over


@borrowing_kernel
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


@borrowing_kernel
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


@borrowing_kernel
def is_loopback_of_4(peers: Any, i: int) -> bool:
    """Return whether datagram `i` came from IPv4's 127.0.0.0/8, in an IPv4 socket: `is_loopback` says no less."""
    return bool(peers[i, 0] == AF_INET and peers[i, 1] == 0 and peers[i, 4] == 127)


@borrowing_kernel
def judge(memory: Any, rules: Any, line: Any, line_rate: Any, rate: float, counts: Any) -> None:
    """Judge each datagram of the batch, and turn those that are plain requests into answers where they stand."""
    state, settings, tally, peers = memory.state, memory.settings, memory.tally, memory.peers
    octets, words, control, out_control = memory.octets, memory.words, memory.control, memory.out_control
    inbound, outbound, found, plan = memory.inbound, memory.outbound, memory.found, memory.plan
    verdicts, kinds, rx_raw, receive = memory.verdicts, memory.rx_kind, memory.rx_raw, memory.receive
    watch, pairs, templates = memory.watch, memory.pairs, memory.templates
    saved_keys, saved_held, saved_ns = rules.saved_keys, rules.saved_held, rules.saved_ns
    at_out_control = memory.addresses[AT_OUT_CONTROL]
    newest_version, from_where_asked = settings[NEWEST_VERSION], settings[PACKET_INFO_WANTED] != 0
    offers_more = newest_version > packet_kernel.NEWEST_VERSION
    # a call that is given all rules copies all of them: it is made where there is something to ask
    is_ruled = settings[EVERYBODY] == 0 or settings[RATES] != 0
    spares_loopback = settings[EVERYBODY] != 0 and settings[RATES_LOOPBACK] == 0
    received = by_kernel = 0
    state[TO_PYTHON_COUNT] = 0
    believed = state[JUDGED]
    user_raw, not_before = state[USER_RAW], state[NOT_BEFORE_RAW]
    has_card = settings[CARD_CLOCK] != 0
    if has_card:
        state[CARD_JUDGED] = judge_cards(memory, user_raw, not_before)
    for i in range(state[PENDING]):
        verdicts[i], plan[i] = NOT_ALLOWED, NOT_ANSWERED
        read_control(control, i, inbound[i, CONTROL_LENGTH], found)
        received += 1
        if inbound[i, FLAGS] & MSG_TRUNC != 0:
            counts[tally[T_TRUNCATED]] += 1
            continue
        length = min(inbound[i, RECEIVED] & 0xFFFF_FFFF, DATAGRAM_ROOM)
        port = np.int64(peers[i, 2]) << 8 | np.int64(peers[i, 3])
        verdict = glance_at(octets, i, length, port, newest_version)
        if verdict == ANSWER and length > HEADER_OCTETS:
            tail = tail_of(octets, i, length, np.int64(octets[i, 0]) >> 3 & 7)
            if tail == MALFORMED:
                verdict = EXTENSION_MALFORMED
            elif tail == MAC:
                verdict = TO_PYTHON if settings[HAS_KEYS] != 0 else MAC_UNSUPPORTED
        if offers_more and verdict == ANSWER and words[i, 4] == OFFER_FIRST and words[i, 5] == OFFER_SECOND:
            verdict = TO_PYTHON
        if verdict == TO_PYTHON:
            if state[ALLOWANCE] > 0:
                state[ALLOWANCE] -= 1
                state[TO_PYTHON_COUNT] += 1
                verdicts[i] = TO_PYTHON
                received -= 1  # the reference counts it
            else:
                counts[tally[T_OVER_BUDGET]] += 1
            continue
        doubt, raw = believed, user_raw
        if believed == BELIEVED:
            doubt, raw = carried_over(watch, pairs, rate, found[STAMP], user_raw, not_before)
        by_card = received_by_card(memory, raw, user_raw, not_before) if has_card and doubt == BELIEVED else NO_STAMP
        if by_card != NO_STAMP:
            raw = by_card
            counts[tally[T_CARD]] += 1
        elif doubt == BELIEVED:
            by_kernel += 1
        else:
            counts[tally[T_USER]] += 1
            memory.refused[doubt] += 1
            state[REFUSED] = 1
        kind = 0 if doubt == BELIEVED else 1
        is_question = verdict == ANSWER or verdict == EXTENSION_MALFORMED or verdict == MAC_UNSUPPORTED
        if is_ruled and is_question and not (spares_loopback and is_loopback_of_4(peers, i)):
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
        write_answer(words, i, templates[kind], line, line_rate, raw, receive, saved_keys, saved_held, saved_ns)
        info = 0
        if from_where_asked:
            info = write_answer_from(control, out_control, i, found)
        if receive[i, 3] != 0 and settings[DEPARTURES] != 0 and state[STAMPS_LEFT] > 0:
            info = ask_departure(out_control, i, info, settings[DEPARTURES], state)
            counts[tally[T_ASKED]] += 1
        plan[i] = ANSWERED | inbound[i, NAME_LENGTH] & NAME_OCTETS
        if templates[kind, HAS_TIME] == 0:
            plan[i] |= WITHOUT_TIME
        if info > 0:
            plan[i] |= WITH_HEADER
            outbound[i, NAME_LENGTH] = plan[i] & NAME_OCTETS
            outbound[i, CONTROL] = at_out_control + i * OUT_CONTROL_ROOM
            outbound[i, CONTROL_LENGTH] = info
    counts[tally[T_RECEIVED]] += received
    counts[tally[T_KERNEL]] += by_kernel


@borrowing_kernel
def count_sent(memory: Any, rules: Any, counts: Any) -> None:
    """Count what was sent of the batch, and note when each answer left that its client may ask for."""
    plan, kinds, receive, sent = memory.plan, memory.rx_kind, memory.receive, memory.sent
    template_counters, rx_raw, edges, tally = memory.template_counters, memory.rx_raw, memory.edges, memory.tally
    for i in range(memory.state[PENDING]):
        if plan[i] == NOT_ANSWERED:
            continue
        kind, leaves = kinds[i], sent[i, 0]
        counts[template_counters[kind, 0]] += 1
        if template_counters[kind, 1] >= 0:
            counts[template_counters[kind, 1]] += 1
        if receive[i, 2] != 0:
            # how long after its receive stamp it left: RFC 9769 section 2
            held = units_apart(sent[i, 1], sent[i, 2], receive[i, 0], receive[i, 1])
            key = (receive[i, 0] & 0x7FFF_FFFF) << 32 | receive[i, 1]
            correct(key, held & MOST_HELD, leaves, rules.saved_keys, rules.saved_held, rules.saved_ns)
        if kind % KINDS == 0:
            took = max(leaves - rx_raw[i], 0)
            place = 0
            while place < edges.shape[0] and edges[place] < took:
                place += 1
            counts[tally[T_ANSWERED_FIRST] + place] += 1
            counts[tally[T_ANSWERED_SUM]] += took
