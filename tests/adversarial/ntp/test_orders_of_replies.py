"""D17: every order of up to four datagrams that a stranger and the server may send, against a model of what may be
believed: the first genuine reply to this question, and nothing else.
"""

from itertools import product

import pytest

from truechimer.serve.ntp import NtpAnswer, NtpHeader, make_request, read_reply
from truechimer.serve.ntp.mac import KeyKind, SymmetricKey, symmetric_key

NONCE, EARLIER = 0x1122334455667788, 0x0102030405060708
KEY = symmetric_key(5, KeyKind.AES128, bytes(range(16)))
T2 = 0xECB0_0000_8000_0000


def reply(origin: int, *, transmit: int = T2 + 9, **changes: object) -> bytes:
    fields: dict[str, object] = {"mode": 4, "stratum": 2, "precision": -20, "receive": T2, "transmit": transmit}
    return NtpHeader(origin=origin, **(fields | changes)).encode()  # type: ignore[arg-type]


GENUINE = "genuine"
KINDS: dict[str, bytes] = {
    GENUINE: reply(NONCE),
    "a zero origin": reply(0, transmit=T2 + 1000),
    "a guessed origin": reply(NONCE ^ 1 << 63, transmit=T2 + 2000),
    "the reply to an earlier question": reply(EARLIER, transmit=T2 + 3000),
    "a kiss for another question": reply(EARLIER, stratum=0, refid=b"DENY"),
    "our own question": make_request(NONCE),
    "a broadcast": reply(NONCE, mode=5),
    "a short one": reply(NONCE)[:47],
}


def believed(datagrams: list[bytes], key: SymmetricKey | None = None) -> NtpAnswer | None:
    """Return what an exchange takes as its answer: the first datagram that is one, as `ntp_exchange` does."""
    for octets in datagrams:
        found = read_reply(octets, NONCE, key=key)
        if isinstance(found, NtpAnswer):
            return found
    return None


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_only_the_genuine_reply_is_ever_believed_in_whatever_order(length: int) -> None:
    for order in product(KINDS, repeat=length):
        found = believed([KINDS[kind] for kind in order])
        assert (found is not None) is (GENUINE in order), order
        if found is not None:
            assert (found.transmit, found.kiss) == (T2 + 9, None), order


@pytest.mark.parametrize("length", [1, 2, 3])
def test_with_a_key_nothing_counts_that_is_not_sealed_not_even_with_the_right_origin(length: int) -> None:
    other = symmetric_key(5, KeyKind.AES128, bytes(16))
    genuine, kiss = KINDS[GENUINE], reply(NONCE, stratum=0, refid=b"DENY")
    kinds = {
        GENUINE: genuine + KEY.seal(genuine),
        "in the clear": genuine,
        "sealed with another key": genuine + other.seal(genuine),
        "a crypto-NAK": genuine + bytes(4),
        "a kiss in the clear": kiss,
        "the seal of another reply": reply(NONCE, transmit=T2 + 77) + KEY.seal(genuine),
    }
    for order in product(kinds, repeat=length):
        found = believed([kinds[kind] for kind in order], KEY)
        assert (found is not None) is (GENUINE in order), order
        assert found is None or found.transmit == T2 + 9


@pytest.mark.slow
def test_a_hundred_thousand_guesses_are_not_one_answer() -> None:
    guessed = NONCE
    for _ in range(100_000):
        guessed = (guessed * 6364136223846793005 + 1442695040888963407) % 2**64
        octets = KINDS[GENUINE][:24] + guessed.to_bytes(8, "big") + KINDS[GENUINE][32:]
        assert guessed == NONCE or not isinstance(read_reply(octets, NONCE), NtpAnswer)
