"""Proposals: orders in files, as people pass them around: the order, its signatures beside it, and the file it names.

It signs nothing and judges nothing (`quorum` does). `NAME.json` are the very bytes that are signed, `NAME.json*.sig`
what `ssh-keygen -Y sign` made of them, `NAME.json.file` the file that goes with it. A signature that does not count
spoils no other, so whatever lies there is only looked at.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truechimer.daemon.answering.now_document import utc_text
from truechimer.daemon.orders.orders_desk import LARGEST_FILE
from truechimer.daemon.orders.orders_words import order_body, standing_body
from truechimer.errors import Rejected
from truechimer.instants import Instant, LeapTable
from truechimer.laboratory.orders import Orders
from truechimer.quorum import applier
from truechimer.quorum.applier import ApplierState, Moment, OrderEntry, VetoEntry
from truechimer.quorum.operations import VETO_NAMESPACE
from truechimer.quorum.order import LARGEST_ORDER, MOST_SIGNATURES, Order, OrderRejected, SignedOrder, order_from
from truechimer.quorum.order_policy import OrderPolicy, Standing, standing
from truechimer.quorum.policy_change import Veto, VetoRejected, veto_from
from truechimer.quorum.sshsig import LARGEST as LARGEST_SIGNATURE
from truechimer.quorum.verified import Refused

FOLDER = "orders"
"""Below the policy's folder: where proposals of this laboratory wait for signatures."""

MOST_LISTED = 20


class ProposalRejected(Rejected):
    """Files that are no proposal; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal as it lies there: an order or a veto, unchecked."""

    path: Path
    signed: SignedOrder
    file: bytes | None
    order: Order | None
    veto: Veto | None

    @property
    def namespace(self) -> str:
        """Return what its signatures must be for."""
        return VETO_NAMESPACE if self.order is None else self.order.operation.namespace

    def entry(self, now: Moment) -> OrderEntry | VetoEntry:
        """Return the entry, as it would be offered at a moment."""
        return VetoEntry(self.signed, now) if self.order is None else OrderEntry(self.signed, now, self.file)

    def request(self) -> dict[str, Any]:
        """Return what is sent to a laboratory's control socket."""
        body: dict[str, Any] = {"veto" if self.order is None else "order": _text(self.signed.payload)}
        body["signatures"] = [_text(one) for one in self.signed.signatures]
        return body | ({} if self.file is None else {"file": _text(self.file)})

    def standing(self, policy: OrderPolicy, state: ApplierState | None = None) -> Standing:
        """Return who has signed and who is missing, by a policy, and by what was applied already."""
        counters = {} if state is None else dict(state.counters)
        revoked = frozenset[str]() if state is None else state.revoked_keys
        return standing(self.signed, policy, namespace=self.namespace, revoked=revoked, counters=counters)


def read(path: Path) -> Proposal:
    """Read a proposal and what lies beside it; raises `ProposalRejected`."""
    payload = _bytes(path, LARGEST_ORDER)
    order, veto = None, None
    try:
        order = order_from(payload)
    except OrderRejected as error:
        try:
            veto = veto_from(payload)
        except VetoRejected:
            raise ProposalRejected(
                f"{path}: not an order ({error}); `truechimer order propose` writes one, no byte may change"
            ) from None
    beside = sorted(path.parent.glob(f"{_escaped(path.name)}*.sig"))
    if len(beside) > MOST_SIGNATURES:
        raise ProposalRejected(f"{path}: {len(beside)} signatures lie beside it, {MOST_SIGNATURES} are read at most")
    signatures = tuple(_bytes(one, LARGEST_SIGNATURE) for one in beside)
    file = path.with_name(path.name + ".file")
    data = _bytes(file, LARGEST_FILE) if file.exists() else None
    return Proposal(path, SignedOrder(payload, signatures), data, order, veto)


def verdict(proposal: Proposal, orders: Orders, now: Moment) -> Refused | None:
    """Return why it would be refused now, None where it would be taken. Nothing is changed by asking."""
    if proposal.order is not None and proposal.order.op not in orders.operations:
        return Refused("not-applied", f"{proposal.order.op} is not applied by this version")
    _, outcome = applier.step(orders.applier, proposal.entry(now))
    return outcome if isinstance(outcome, Refused) else None


def document(proposal: Proposal, orders: Orders, now: Moment, leaps: LeapTable) -> dict[str, Any]:
    """Return a proposal in the keys of a document: what it asks for, who has signed, who is missing, what is in its
    way.
    """
    state = applier.settled(orders.applier, now)
    body: dict[str, Any] = {"file": proposal.path.name}
    if proposal.order is not None:
        body |= order_body(proposal.order)
        expires = Instant.from_tai_ns(proposal.order.expires_ns)
        body |= {"expires": utc_text(expires, leaps), "left_s": (proposal.order.expires_ns - now.latest_ns) / 1e9}
    elif proposal.veto is not None:
        body |= {"op": "veto", "of": proposal.veto.order, "because": proposal.veto.because}
        body |= {"sentence": f"stops the waiting change of the policy ({proposal.veto.order[:12]})"}
    found = standing_body(proposal.standing(state.policy, state))
    if proposal.veto is not None:
        found |= {"needed": 1, "enough": bool(found["signed_by"])}
    body |= found
    refused = verdict(proposal, orders, now)
    return body if refused is None else body | {"refused": refused.reason, "says": refused.says}


def listed(folder: Path, orders: Orders, now: Moment, leaps: LeapTable) -> list[dict[str, Any]]:
    """Return the proposals that lie in a folder, newest first; what is none is left out."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix == ".json" and path.is_file()]
        paths.sort(key=lambda path: (-path.stat().st_mtime_ns, path.name))
    except OSError:
        return []
    rows = []
    for path in paths[:MOST_LISTED]:
        try:
            proposal = read(path)
        except ProposalRejected:
            continue
        if proposal.order is not None and proposal.order.sequence <= orders.applier.sequence:
            continue  # done, or its place was taken
        rows.append(document(proposal, orders, now, leaps))
    return rows


def _escaped(name: str) -> str:
    """Return a name of which no letter means anything in a glob."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _bytes(path: Path, most: int) -> bytes:
    """Read a small file; raises `ProposalRejected`."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ProposalRejected(
            f"{path}: {error.strerror}; name the file that `truechimer order propose` wrote"
        ) from None
    if len(data) > most:
        raise ProposalRejected(f"{path}: more than {most} bytes are not read")
    return data


def _text(data: bytes) -> str:
    """Write bytes in base64."""
    return base64.b64encode(data).decode("ascii")
