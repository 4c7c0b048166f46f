"""NTP as pure cores: packet, server and client; bytes in, bytes out."""

from truechimer.serve.ntp.client import (
    AnswerDoubt,
    NtpAnswer,
    NtpRequestMisuse,
    ReplyRejected,
    WhyRejected,
    is_loop,
    make_request,
    read_reply,
    refid_of,
    refid_text,
)
from truechimer.serve.ntp.packet import Mode, NtpHeader, NtpLeap, decode, walk_tail
from truechimer.serve.ntp.reply import (
    Client,
    Ignore,
    IgnoreReason,
    Kiss,
    Offers,
    Reply,
    ReplyKind,
    transmit_stamp,
)
from truechimer.serve.ntp.server import SIMULATED_ANCHOR_DOUBT_S, glance, respond

__all__ = [
    "SIMULATED_ANCHOR_DOUBT_S",
    "AnswerDoubt",
    "Client",
    "Ignore",
    "IgnoreReason",
    "Kiss",
    "Mode",
    "NtpAnswer",
    "NtpHeader",
    "NtpLeap",
    "NtpRequestMisuse",
    "Offers",
    "Reply",
    "ReplyKind",
    "ReplyRejected",
    "WhyRejected",
    "decode",
    "glance",
    "is_loop",
    "make_request",
    "read_reply",
    "refid_of",
    "refid_text",
    "respond",
    "transmit_stamp",
    "walk_tail",
]
