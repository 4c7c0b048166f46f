"""What a tired engineer reads of an order: what will change, by how much, until when, who has signed, who is missing,
and what happens if nothing is done.

It judges nothing and asks nothing. Whatever came from outside is printed without letters that a terminal obeys.
"""

from fractions import Fraction
from typing import Any

from truechimer.cli.lab_words import long_span, plain, seconds
from truechimer.cli.order_place import OrderPlace, utc
from truechimer.daemon.orders.proposals import Proposal, verdict
from truechimer.quorum.applier import settled
from truechimer.quorum.operations import Moves
from truechimer.quorum.order import Order
from truechimer.quorum.order_policy import OrderPolicy
from truechimer.quorum.verified import Verified
from truechimer.watch.thresholds import THRESHOLDS

LABEL = 12
LEGIBLE = frozenset({"configuration", "listener-policy", "log-keys", "steering-envelope"})
"""Operations whose file is text for people."""
MOST_LINES = 40


def row(label: str, words: str) -> str:
    """Return one line of a screen."""
    return f"{label:<{LABEL}}{plain(words, 400)}"


def proposal_lines(proposal: Proposal, place: OrderPlace) -> list[str]:
    """Return the screen of a proposal."""
    order, policy = proposal.order, place.policy
    state = None if place.orders is None else settled(place.orders.applier, place.now)
    policy = policy if state is None else state.policy
    found = proposal.standing(policy, state)
    needed = 1 if order is None else found.needed
    lines = []
    if order is not None:
        lines += [row(f"ORDER {order.sequence}", "proposed; nothing has changed yet")]
        lines += order_lines(order, place)
        lines += file_lines(order, proposal.file)
    elif proposal.veto is not None:
        lines += [row("VETO", "proposed; nothing has changed yet")]
        lines += [row("what", f"stops the waiting change of the policy, {proposal.veto.order[:12]}")]
        lines += [row("why", proposal.veto.because)]
    by = ", ".join(found.by) or "nobody"
    lines += [row("signed", f"{by}: {len(found.by)} of {needed} persons needed")]
    if len(found.by) < needed:
        lines += [row("missing", f"{needed - len(found.by)} more of: {', '.join(found.missing) or 'nobody is left'}")]
    lines += [row("not counted", f"{says} ({reason})") for reason, says in found.findings]
    if place.orders is not None and (place.folder is not None):
        refused = verdict(proposal, place.orders, place.now)
        lines += [
            row("now", "would be taken" if refused is None else f"would be refused ({refused.reason}): {refused.says}")
        ]
    lines += [row("if not", _if_nothing_is_done(proposal, place))]
    if len(found.by) < needed:
        lines += [row("to sign", f"truechimer order sign {proposal.path} --key YOUR_KEY")]
        lines += [row("", f"or: ssh-keygen -Y sign -n {proposal.namespace} -f YOUR_KEY {proposal.path}")]
    else:
        lines += [row("to submit", f"truechimer order submit {proposal.path}")]
    return lines


def order_lines(order: Order, place: OrderPlace) -> list[str]:
    """Return what an order asks for: what, how much, why, and when."""
    return [
        row("what", order.sentence),
        row("how much", how_much(order)),
        row("why", order.because),
        row("from", f"{utc(order.valid_from_ns, place.leaps)} UTC"),
        row("until", f"{utc(order.expires_ns, place.leaps)} UTC{_left(order, place)}"),
        row("sha256", f"{order.digest} (compare the first 12 aloud: {order.digest[:12]})"),
    ]


def file_lines(order: Order, file: bytes | None) -> list[str]:
    """Return what stands in the file that an order names, where people can read it: they sign what it says."""
    if file is None or order.op not in LEGIBLE:
        return []
    text = file.decode(errors="replace").splitlines()
    lines = [row("file" if number == 0 else "", line) for number, line in enumerate(text[:MOST_LINES])]
    more = len(text) - MOST_LINES
    return [*lines, row("", f"... and {more} lines more: read the file itself")] if more > 0 else lines


def how_much(order: Order) -> str:
    """Say by how much the time can move by an order."""
    moves = order.operation.moves
    if moves is Moves.PHASE:
        return f"the time moves by {seconds(float(order.value), signed=True)} at once, once"
    if moves is Moves.RATE:
        total = Fraction(order.value) * (order.expires_ns - order.valid_from_ns) / 10**9
        return f"the time moves by up to {seconds(float(total), signed=True)} until it ends"
    if order.op == "monitor-threshold" and order.target in THRESHOLDS:
        known = THRESHOLDS[order.target]
        usual = "as LAB.toml says" if known.default is None else f"{known.default:g}"
        return f"{known.says}: {order.value} for {usual}; {known.least:g} to {known.most:g} are allowed"
    if order.op == "steering-envelope":
        return "nothing at once; automatic steering may move the time inside the file's limits"
    return "nothing at once"


def _left(order: Order, place: OrderPlace) -> str:
    left_s = (order.expires_ns - place.now.latest_ns) / 1e9
    return f", {long_span(left_s)} left" if left_s > 0 else ", EXPIRED"


def _if_nothing_is_done(proposal: Proposal, place: OrderPlace) -> str:
    """Say what happens if nobody does anything more."""
    order = proposal.order
    if order is None:
        waiting = None if place.orders is None else place.orders.applier.pending
        when = "when its wait is over" if waiting is None else f"at {utc(waiting.in_force_ns, place.leaps)} UTC"
        return f"without a submitted veto the waiting policy comes into force {when}"
    until = f"after {utc(order.expires_ns, place.leaps)} UTC this order is worth nothing"
    if order.op == "steering-envelope" and place.orders is not None and isinstance(place.orders.limits, Verified):
        ends = utc(place.orders.limits.value.valid_until_ns, place.leaps)
        return f"the envelope in force ends at {ends} UTC; then the rate is held and the bound grows. {until}"
    if order.op == "key-revoke":
        return f"the key keeps its voice. {until}"
    return f"nothing changes. {until}"


def policy_lines(policy: OrderPolicy, revoked: frozenset[str] = frozenset()) -> list[str]:
    """Return the screen of a policy."""
    gone = revoked | set(policy.revoked)
    lines = [
        row("policy", f"version {policy.version} of {policy.laboratory}: {policy.sentence}"),
        row("sha256", f"{policy.digest} (compare the first 12 aloud: {policy.digest[:12]})"),
        row("needs", f"{policy.threshold} of {len(policy.persons)} persons for every order"),
    ]
    for person in policy.persons:
        for one in person.keys:
            held = {"software": "IN A FILE, can be copied unseen", "fido2": "FIDO2", "pkcs11": "PKCS#11"}[one.held]
            asks = ", asks for PIN or finger" if one.verify else ""
            dead = ", REVOKED" if one.key.fingerprint in gone else ""
            lines.append(row(person.name, f"{one.key.fingerprint} {one.key.kind}, {held}{asks}{dead}"))
    limits = policy.limits
    lines += [
        row(
            "limits",
            f"{seconds(float(limits.steer_s))} by one order to steer, {seconds(float(limits.delay_s))} by one delay,",
        ),
        row("", f"{seconds(float(limits.day_s))} in any 24 h, {seconds(float(limits.total_s))} in all"),
        row("changes", f"wait {long_span(policy.change_delay_s)}; old and new quorum sign; any one key can veto"),
    ]
    if policy.insecure_software_keys:
        lines.append(row("INSECURE", "software keys may sign: who reads such a file signs in that person's name"))
    return lines


def outcome_line(said: dict[str, Any]) -> str:
    """Return what became of an order in one line."""
    what = str(said.get("outcome"))
    by = ", ".join(str(one) for one in said.get("by", ()))
    words = {"applied": "IN FORCE", "waits": "RECORDED, it waits", "vetoed": "VETOED", "refused": "REFUSED"}.get(
        what, what
    )
    if what == "refused":
        return f"{words} ({plain(said.get('reason', '-'))}): {plain(said.get('says', ''), 400)}"
    return f"{words}, signed by {plain(by)}, record {plain(said.get('record', '-'))}"
