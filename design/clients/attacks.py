"""What attacks on our own NTP client come to: D17 to D20 and some that the catalogue does not have, in simulation.

    PYTHONPATH=src:. python design/clients/attacks.py --seeds 5 --out docs/measured/ntp_client_attacks.json

Method. The laboratory is that of `tests/laboratory/lying.py`: a host whose oscillator wanders (2.3e-5 off, 3e-9 of
wander), asked servers a second apart, paths of 10 to 60 us with queues, truth known. Each attack begins at second 100
and goes on for 200 s; each has a twin with the same seed and honest servers. *moved*: the largest difference between
what is served as synchronised in both, after the attack begins. *bound*: the largest that is stated meanwhile by the
scale. *lies*: pages outside their bound, judged twice a second. *named*: seconds (polls) until all liars are named.
*served*: seconds of the attack with a synchronised answer. The worst seed is the result.

Packets (D17, D20) go through the client's and the server's own cores, without a network.
"""

import argparse
import json
import random
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.laboratory.lying import SERVED, Scene, Server, constant, ramp  # noqa: E402
from tests.serve.pages import ANCHOR_RAW_NS, a_page  # noqa: E402

from truechimer.serve import RxStamp, StampKind, serve_at  # noqa: E402
from truechimer.serve.ntp import (  # noqa: E402
    Client,
    NtpAnswer,
    NtpHeader,
    Offers,
    Reply,
    make_request,
    read_reply,
    respond,
)
from truechimer.serve.ntp.interleaved import SavedStamps  # noqa: E402

BEGINS_S, LASTS_S = 100, 200
GOOD = Server()


def small_steps_then_big(second: float) -> float:
    """To +30 s: 1 us more each second, then 10 ms each, then all at once."""
    since = max(0.0, second - BEGINS_S)
    return 1e-6 * since if since < 60 else 0.01 * (since - 60) if since < 120 else 30.0


def held(held_s: float) -> Server:
    return Server(held_s=constant(held_s, since_s=BEGINS_S))


def from_then(lie_s: float) -> Server:
    return Server(constant(lie_s, since_s=BEGINS_S))


def drifting(rate: float, **more: Any) -> Server:
    return Server(ramp(rate, since_s=BEGINS_S), **more)


@dataclass(frozen=True)
class Attack:
    """Honest servers come first; `liars` are the last ones, to be named."""

    says: str
    servers: tuple[Server, ...]
    liars: int


ATTACKS = (
    Attack("D18: 1 of 4 held back 50 ms one way", (GOOD,) * 3 + (held(0.05),), 0),
    Attack("D18: 2 of 4 held back 50 ms one way", (GOOD,) * 2 + (held(0.05),) * 2, 0),
    Attack("3 of 7 held back 5 ms one way", (GOOD,) * 4 + (held(0.005),) * 3, 0),
    Attack("3 of 4 held back 50 ms one way", (GOOD,) + (held(0.05),) * 3, 0),
    Attack("D19: 2 of 5 go to +30 s, slowly, then at once", (GOOD,) * 3 + (Server(small_steps_then_big),) * 2, 2),
    Attack("D19: 3 of 5 do", (GOOD,) * 2 + (Server(small_steps_then_big),) * 3, 0),
    Attack("3 of 7 lie by 50 ms", (GOOD,) * 4 + (from_then(0.05),) * 3, 3),
    Attack("3 of 7 lie by 50, -50 and 1 ms", (GOOD,) * 4 + (from_then(0.05), from_then(-0.05), from_then(1e-3)), 3),
    Attack("3 of 7 drift by 1e-6", (GOOD,) * 4 + (drifting(1e-6),) * 3, 3),
    Attack("3 of 7 drift by 1e-5", (GOOD,) * 4 + (drifting(1e-5),) * 3, 3),
    Attack("3 of 7 drift by 1e-6 and claim to know to 1 ns", (GOOD,) * 4 + (drifting(1e-6, states_s=1e-9),) * 3, 3),
    Attack(
        "one operator with 6 addresses lies by 50 ms, 3 others do not",
        (GOOD,) * 3 + (Server(constant(0.05, since_s=BEGINS_S), operator="farm"),) * 6,
        6,
    ),
    Attack("4 of 7 lie by 50 ms together", (GOOD,) * 3 + (from_then(0.05),) * 4, 0),
    Attack(
        "4 of 7 lie by 50 ms from the first answer on, apart",
        (GOOD,) * 3 + tuple(Server(constant(0.05 * k)) for k in (1, -1, 2, -2)),
        0,
    ),
)


def worst(attack: Attack, seeds: int) -> dict[str, Any]:
    """Run an attack and its twin for each seed; return the worst of each figure."""
    rows = [one(attack, seed) for seed in range(1, seeds + 1)]
    named = [row["named_s"] for row in rows]
    return {
        "attack": attack.says,
        "moved_s": max(row["moved_s"] for row in rows),
        "bound_s": max(row["bound_s"] for row in rows),
        "lies": sum(row["lies"] for row in rows),
        "named_s": None if not attack.liars else -1 if None in named else max(named),
        "served": min(row["served"] for row in rows),
        "votes": sorted({vote for row in rows for vote in row["votes"]}),
    }


def one(attack: Attack, seed: int) -> dict[str, Any]:
    """Run an attack and its twin once."""
    scene = Scene(attack.servers, seed=seed).run(BEGINS_S)
    clean = Scene(tuple(Server(operator=one.operator) for one in attack.servers), seed=seed).run(BEGINS_S + LASTS_S)
    wanted = set(range(len(attack.servers) - attack.liars, len(attack.servers)))
    named_s = None
    for second in range(LASTS_S):
        scene.run(1)
        if named_s is None and wanted and wanted <= scene.named():
            named_s = second + 1
    during = scene.outcomes[BEGINS_S:]
    served = [one.page is not None and one.page.state in SERVED for one in during]
    moved = [
        abs(scene.errors_s[second] - clean.errors_s[second])
        for second in scene.errors_s
        if second > BEGINS_S and second in clean.errors_s
    ]
    return {
        "moved_s": max(moved, default=0.0),
        "bound_s": max(
            (
                one.bound.bound_s
                for one, is_served in zip(during, served, strict=True)
                if one.bound is not None and is_served
            ),
            default=0.0,
        ),
        "lies": len(scene.lies),
        "named_s": named_s,
        "served": sum(served) / LASTS_S,
        "votes": {one.selection.state.value for one in during},
    }


def forged(count: int, seed: int) -> dict[str, int]:
    """D17: answers of somebody who does not see our questions; how many are taken for an answer."""
    chance = random.Random(seed)
    kinds: dict[str, Callable[[int, bytes], bytes]] = {
        "origin zero": lambda _nonce, _old: header(chance, origin=0).encode(),
        "origin of chance": lambda _nonce, _old: header(chance, origin=chance.randrange(2**64)).encode(),
        "origin one bit off": lambda nonce, _old: header(chance, origin=nonce ^ 1 << chance.randrange(64)).encode(),
        "the answer before, again": lambda _nonce, old: old,
        "kiss": lambda _nonce, _old: header(chance, stratum=0, refid=b"DENY", origin=0).encode(),
        "chance": lambda _nonce, _old: chance.randbytes(chance.randrange(200)),
    }
    accepted = 0
    old = header(chance, origin=1).encode()
    for k in range(count):
        nonce = chance.randrange(1, 2**64)
        make = list(kinds.values())[k % len(kinds)]
        accepted += isinstance(read_reply(make(nonce, old), nonce), NtpAnswer)
        old = header(chance, origin=nonce).encode()
    return {"packets": count, "accepted": accepted, "kinds": len(kinds)}


def header(chance: random.Random, *, origin: int, stratum: int = 1, refid: bytes = b"TRUE") -> NtpHeader:
    now = chance.randrange(1, 2**63)
    return NtpHeader(mode=4, stratum=stratum, refid=refid, origin=origin, receive=now, transmit=now + 9)


def amplified(count: int, seed: int) -> dict[str, Any]:
    """D20: questions of every mode, version and length from 1 to 1500; the largest answer beside its question."""
    chance = random.Random(seed)
    client, rx = Client("192.0.2.1", 40_000), RxStamp(ANCHOR_RAW_NS + 10**9, StampKind.KERNEL, 5e-6)
    served = serve_at(a_page(), rx.raw_ns)
    offers = Offers(ntpv5=True, saved=SavedStamps(sets=8))
    largest, answered, of_controls = 0.0, 0, 0
    for k in range(count):
        octets = bytearray(chance.randbytes(1 + k % 1500))
        octets[0] = k * 7 % 256
        if k % 3 == 0 and len(octets) >= 76:
            octets[48:52] = struct.pack(">HH", 0x4242, len(octets) - 48 & ~3)
            octets = octets[: 48 + (len(octets) - 48 & ~3)]
        reply = respond(bytes(octets), client, rx=rx, served=served, precision_log2=-23, offers=offers)
        if isinstance(reply, Reply):
            answered += 1
            of_controls += octets[0] & 7 in {6, 7}
            largest = max(largest, len(reply.with_transmit(1)) / len(octets))
    question = make_request(1)
    reply = respond(question, client, rx=rx, served=served, precision_log2=-23, offers=offers)
    assert isinstance(reply, Reply)
    largest = max(largest, len(reply.with_transmit(1)) / len(question))
    return {"packets": count, "answered": answered, "of_control_modes": of_controls, "largest_ratio": largest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    body: dict[str, Any] = {
        "seeds": options.seeds,
        "lasts_s": LASTS_S,
        "forged": forged(100_000, 1),
        "amplified": amplified(30_000, 2),
        "attacks": [],
    }
    for attack in ATTACKS:
        body["attacks"].append(worst(attack, options.seeds))
        print(json.dumps(body["attacks"][-1]), flush=True)
    print(json.dumps({name: body[name] for name in ("forged", "amplified")}))
    if options.out is not None:
        options.out.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
