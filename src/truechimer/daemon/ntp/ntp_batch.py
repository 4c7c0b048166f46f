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
    KISS_DENY_ROWS,
    KISS_RATE_ROWS,
    LAST_RX_RAW,
    MSG_TRUNC,
    NAME_LENGTH,
    NEWEST_VERSION,
    NOT_BEFORE_RAW,
    OFFER_FIRST,
    OFFER_SECOND,
    OUT_CONTROL_ROOM,
    PACKET_INFO_WANTED,
    PENDING,
    RATES,
    RATES_LOOPBACK,
    RECEIVED,
    SAYS_DENY,
    SAYS_RATE,
    STAMPS_LEFT,
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
)
from truechimer.kernel import borrowing_kernel
from truechimer.serve.ntp import packet_kernel
from truechimer.serve.ntp.packet_kernel import (
    ANSWER,
    EXTENSION_MALFORMED,
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
def judge(memory: Any, rules: Any, line: Any, line_rate: Any, rate: float, counts: Any) -> None:
    """Judge each datagram of the batch, and turn those that are plain requests into answers where they stand."""
    state, settings, tally, peers = memory.state, memory.settings, memory.tally, memory.peers
    octets, words, control, out_control = memory.octets, memory.words, memory.control, memory.out_control
    inbound, outbound, found, stamps = memory.inbound, memory.outbound, memory.found, memory.stamps
    verdicts, kinds, rx_raw, receive = memory.verdicts, memory.rx_kind, memory.rx_raw, memory.receive
    watch, pairs, templates = memory.watch, memory.pairs, memory.templates
    saved_keys, saved_held, saved_ns = rules.saved_keys, rules.saved_held, rules.saved_ns
    at_out_control = memory.addresses[AT_OUT_CONTROL]
    state[TO_PYTHON_COUNT] = 0
    believed = state[JUDGED]
    user_raw, not_before = state[USER_RAW], state[NOT_BEFORE_RAW]
    has_card = settings[CARD_CLOCK] != 0
    if has_card:
        state[CARD_JUDGED] = judge_cards(memory, user_raw, not_before)
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
        by_card = received_by_card(memory, raw, user_raw, not_before) if has_card and doubt == BELIEVED else NO_STAMP
        if by_card != NO_STAMP:
            raw = by_card
            counts[tally[T_CARD]] += 1
        elif doubt == BELIEVED:
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
        write_answer(words, i, templates[kind], line, line_rate, raw, receive, saved_keys, saved_held, saved_ns)
        info = 0
        if settings[PACKET_INFO_WANTED] != 0:
            info = write_answer_from(control, out_control, i, found)
        if receive[i, 3] != 0 and settings[DEPARTURES] != 0 and state[STAMPS_LEFT] > 0:
            info = ask_departure(out_control, i, info, settings[DEPARTURES], state)
            counts[tally[T_ASKED]] += 1
        outbound[i, NAME_LENGTH] = inbound[i, NAME_LENGTH] & 0xFFFF_FFFF
        outbound[i, CONTROL] = at_out_control + i * OUT_CONTROL_ROOM if info > 0 else 0
        outbound[i, CONTROL_LENGTH] = info
