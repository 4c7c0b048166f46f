"""An applier on a host of its own: judges each order again by its own policy, chain, clock and account, and keeps them
in one file that only grows.

An actuator is driven through `daemon.orders.actuating` alone, after the outcome is on the disk; whoever drives another
one (a counter's delay table) runs this first and acts on status 0 alone. It trusts neither the laboratory nor who
brings the order; what it holds is folded again from its file at each call, and each line names the hash of the line
before. Steering envelopes are judged, not carried out, here.
"""

import fcntl
import os
from pathlib import Path
from typing import Any

from truechimer.cli.order_place import OrderInputRejected
from truechimer.daemon.orders.actuating import Actuator, carry_out
from truechimer.daemon.orders.proposals import Proposal
from truechimer.evidence.record import Chain, RecordRejected, read, seal
from truechimer.laboratory import ordering
from truechimer.quorum import applier
from truechimer.quorum.applier import Applied, ApplierState, Moment
from truechimer.quorum.order_policy import OrderPolicy, OrderPolicyRejected, order_policy_from

LARGEST_CHAIN = 64 << 20


def apply(
    proposal: Proposal, chain: Path, policy: OrderPolicy | None, now: Moment, *, actuator: Actuator | None = None
) -> dict[str, Any]:
    """Judge a proposal, write the outcome down durably, drive the actuator by it, and return it. `policy`: of an
    applier that begins.

    Raises `OrderInputRejected` where the chain cannot be read or is not what this applier wrote, `Rejected` where the
    actuator does not do what it is told: the next call tells it again.
    """
    try:
        descriptor = os.open(chain, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OrderInputRejected(f"{chain}: {error.strerror}; name the applier's own file with --chain") from None
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        data = file.read(LARGEST_CHAIN + 1)
        if len(data) > LARGEST_CHAIN:
            raise OrderInputRejected(f"{chain}: more than {LARGEST_CHAIN} bytes")
        state, links, made, before = _folded(chain, data, policy)
        _, outcome = applier.step(state, proposal.entry(now))
        record, _ = seal(ordering.KIND, ordering.encode(proposal.entry(now)) | ordering.said(outcome), links)
        os.write(file.fileno(), made + record.data + b"\n")
        os.fsync(file.fileno())
        body = ordering.said(outcome) | {"record": record.seq}
        if actuator is not None:
            lawful = [*before, outcome] if isinstance(outcome, Applied) else before
            body["done"] = list(carry_out(actuator, lawful, now))
    return body


def _folded(path: Path, data: bytes, policy: OrderPolicy | None) -> tuple[ApplierState, Chain, bytes, list[Applied]]:
    """Return state and chain after the file's lines, the first line where there is none yet, and what was lawful."""
    if data and not data.endswith(b"\n"):
        raise OrderInputRejected(
            f"{path}: its last line is not whole: keep a copy, cut it, and submit that order again"
        )
    links, state, lawful = Chain(), None, list[Applied]()
    try:
        for line in data.splitlines():
            body, links = read(line, links)
            if state is None:
                state = applier.begun(order_policy_from(body["policy"].encode()))
                continue
            state, outcome = applier.step(state, ordering.entry_from(body))
            if ordering.said(outcome) != {key: body[key] for key in ordering.said(outcome)}:
                raise OrderInputRejected(f"{path}: line {body['seq'] + 1} does not come out as it was written")
            if isinstance(outcome, Applied):
                lawful.append(outcome)
    except (RecordRejected, OrderPolicyRejected, KeyError, TypeError, AttributeError) as error:
        raise OrderInputRejected(f"{path}: not the file of an applier, or edited: {error}") from None
    if state is not None:
        if policy is not None and state.policy.laboratory != policy.laboratory:
            raise OrderInputRejected(f"{path} is of {state.policy.laboratory}, the policy of {policy.laboratory}")
        return state, links, b"", lawful
    if policy is None:
        raise OrderInputRejected(f"{path} is empty: an applier begins with the policy that people agreed on (--policy)")
    first, links = seal("configuration", {"policy": policy.canonical().decode()}, links)
    return applier.begun(policy), links, first.data + b"\n", lawful


def is_lawful(said: dict[str, Any]) -> bool:
    """Return True where an order is to be carried out."""
    return bool(said["outcome"] == "applied")
