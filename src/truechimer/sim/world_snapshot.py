"""World snapshot: where a simulated world stands, as bytes that prove themselves whole, and the same world again.

It is no evidence and no truth of its own: scenario, seed, anchor and the epochs asked for decide a world, and asking
it all of them again gives the same one. This saves the asking.
"""

import json
import re
from hashlib import sha256

from truechimer.compare.reading import Reading
from truechimer.errors import Rejected
from truechimer.evidence import exact
from truechimer.sim.scenario import Scenario
from truechimer.sim.world import World

FORMAT = 1
_FIRST_LINE = re.compile(rb"truechimer-world ([0-9a-f]{64})\n")
_KINDS = exact.kinds_within(Reading)


class WorldSnapshotRejected(Rejected):
    """Bytes that are not the world asked for."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the simulated world's snapshot is not used ({why}); the world is asked all epochs again")


def encode(world: World, *, seq: int) -> bytes | None:
    """Return where a world stands, `seq` records after the beginning; None where it cannot be kept (`World.kept`)."""
    kept = world.kept()
    if kept is None:
        return None
    packed = json.dumps([FORMAT, _identity(world), seq, exact.encode(kept, _KINDS)]).encode()
    return f"truechimer-world {sha256(packed).hexdigest()}\n".encode() + packed


def restore(data: bytes, scenario: Scenario, *, seed: int, anchor_tai_ns: int, anchor_raw_ns: int) -> tuple[World, int]:
    """Return the world, and after how many records it stands there; raises `WorldSnapshotRejected` for bytes that are
    not whole, or of another one.
    """
    found = _FIRST_LINE.match(data)
    if found is None or sha256(data[found.end() :]).hexdigest().encode() != found[1]:
        raise WorldSnapshotRejected("its bytes are not those that were written")
    world = World(scenario, seed=seed, anchor_tai_ns=anchor_tai_ns, anchor_raw_ns=anchor_raw_ns)
    try:
        form, identity, seq, text = json.loads(data[found.end() :])
        is_ours = (form, identity) == (FORMAT, _identity(world))
        if is_ours:
            world.put_back(exact.decode(text, _KINDS))
            seq = int(seq)
    except exact.READ_FAULTS as error:
        raise WorldSnapshotRejected(str(error)) from None
    if not is_ours:
        raise WorldSnapshotRejected("it is of another scenario, seed, anchor or version")
    return world, seq


def _identity(world: World) -> str:
    """Return what a world is decided by but for what it is asked."""
    # true time at the raw value 0 tells one raw anchor from another
    decided = (world.scenario, world.seed, world.anchor_tai_ns, world.true_tai_fs(0))
    return sha256(repr(decided).encode()).hexdigest()
