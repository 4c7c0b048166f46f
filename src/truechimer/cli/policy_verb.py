"""`truechimer policy show|check|make`: who may order what: the policy in force, one in a file, or a new one from keys.

It changes nothing: a new policy comes into force by an order that the old quorum and the new one sign. Exit status: 0
good, 1 not a policy that can be taken, 2 wrong use or unreadable input.
"""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.arguments import VerbParser, verb_parser

if TYPE_CHECKING:
    from truechimer.quorum.order_policy import OrderPolicy

GOOD, NO = 0, 1
DAY_S = 86_400


def parser() -> VerbParser:
    """Return the command line of `policy`."""
    options = verb_parser("policy", "Who may order what: show the policy in force, check one, make one from keys.")
    verbs = options.add_subparsers(dest="what", required=True, metavar="show|check|make")
    show = verbs.add_parser("show", help="the policy in force in a laboratory, or one in a file", allow_abbrev=False)
    show.add_argument("--policy", type=Path, metavar="FILE", help="a file instead of what is in force")
    check = verbs.add_parser(
        "check", help="say whether a file is a policy, and what it would change", allow_abbrev=False
    )
    check.add_argument("file", type=Path, metavar="FILE")
    make = verbs.add_parser(
        "make", help="write a policy from public keys; nothing comes into force", allow_abbrev=False
    )
    make.add_argument("--laboratory", help="its name (default: of the one in force)")
    make.add_argument("--threshold", type=int, required=True, help="how many persons must sign")
    make.add_argument(
        "--person", action="append", required=True, metavar="NAME=FILE.pub[,FILE.pub]", help="a person and their keys"
    )
    make.add_argument(
        "--pkcs11", action="append", default=[], metavar="FILE.pub", help="this key is on a PKCS#11 token"
    )
    make.add_argument("--verify", action="store_true", help="FIDO2 keys must ask for their PIN or finger each time")
    make.add_argument("--insecure-software-keys", action="store_true", help="keys in files may sign; shown everywhere")
    make.add_argument("--delay-days", type=float, default=1.0, help="how long a change of it waits (1 to 90)")
    for name, what in (("steer", "one order to steer"), ("day", "any 24 h"), ("total", "all"), ("delay", "one delay")):
        make.add_argument(f"--{name}", metavar="S", help=f"most time moved by {what} (default: as in force)")
    make.add_argument("--out", type=Path, required=True, help="where to write it; nothing is overwritten")
    for one in (show, check, make):
        one.add_argument("--lab", metavar="DIR", help="the laboratory's folder (default: the one that runs here)")
        one.add_argument("--json", action="store_true", help="print one JSON document")
    return options


def main(argv: list[str]) -> int:
    """Do one of the three; `argv` is what follows `policy`."""
    options = parser().parse_args(argv)
    return {"show": _show, "check": _check, "make": _make}[options.what](options)


def _show(options: argparse.Namespace) -> int:
    from truechimer.cli import order_screen
    from truechimer.cli.order_place import place
    from truechimer.daemon.orders.orders_words import policy_body
    from truechimer.quorum.applier import settled

    where = place(options.lab, options.policy)
    policy, revoked = where.policy, frozenset[str]()
    if where.orders is not None:
        state = settled(where.orders.applier, where.now)
        policy, revoked = state.policy, state.revoked_keys
    _print(options, policy_body(policy, revoked), order_screen.policy_lines(policy, revoked))
    return GOOD


def _check(options: argparse.Namespace) -> int:
    from truechimer.cli import order_screen
    from truechimer.cli.order_place import OrderInputRejected, place
    from truechimer.daemon.orders.orders_words import policy_body
    from truechimer.errors import Rejected
    from truechimer.quorum.order_policy import OrderPolicyRejected, order_policy_from

    try:
        policy = order_policy_from(options.file.read_bytes())
    except OSError as error:
        raise OrderInputRejected(f"{options.file}: {error.strerror}; name a policy file") from None
    except OrderPolicyRejected as error:
        _print(
            options, {"good": False, "says": str(error)}, [f"{options.file}: not a policy that can be taken: {error}"]
        )
        return NO
    changes: list[str] = []
    try:
        before = place(options.lab, None)
    except Rejected:
        pass  # a file can be judged where no laboratory is
    else:
        from truechimer.quorum.applier import settled

        known = before.policy if before.orders is None else settled(before.orders.applier, before.now).policy
        changes = differences(known, policy)
    body = {"good": True, "policy": policy_body(policy), "changes": changes}
    lines = [*order_screen.policy_lines(policy), *(order_screen.row("change", one) for one in changes)]
    _print(options, body, lines)
    return GOOD


def differences(before: "OrderPolicy", after: "OrderPolicy") -> list[str]:
    """Return what another policy would change, one sentence each."""
    if before == after:
        return ["none: it is the policy in force"]
    found = []
    if after.laboratory != before.laboratory:
        found.append(f"REFUSED as a change: it is for {after.laboratory}, in force is one of {before.laboratory}")
    if after.version != before.version + 1:
        found.append(f"REFUSED as a change: version {after.version}, {before.version + 1} must follow")
    if after.threshold != before.threshold:
        found.append(f"{after.threshold} persons instead of {before.threshold} must sign")
    names, known = {one.name for one in after.persons}, {one.name for one in before.persons}
    found += [f"{name} may sign" for name in sorted(names - known)]
    found += [f"{name} may no longer sign" for name in sorted(known - names)]
    ours = {one.key.fingerprint: person.name for person in before.persons for one in person.keys}
    theirs = {one.key.fingerprint: person.name for person in after.persons for one in person.keys}
    found += [f"the key {key} of {theirs[key]} is new" for key in sorted(theirs.keys() - ours.keys())]
    found += [f"the key {key} of {ours[key]} is gone" for key in sorted(ours.keys() - theirs.keys())]
    found += [
        f"the key {key} moves from {ours[key]} to {theirs[key]}"
        for key in sorted(ours)
        if theirs.get(key, ours[key]) != ours[key]
    ]
    for name in ("steer_s", "day_s", "total_s", "delay_s"):
        old, new = getattr(before.limits, name), getattr(after.limits, name)
        if old != new:
            found.append(f"limit {name}: {new} s instead of {old} s")
    if after.insecure_software_keys and not before.insecure_software_keys:
        found.append("INSECURE: keys in files may sign from then on")
    if after.change_delay_s != before.change_delay_s:
        found.append(f"a change waits {after.change_delay_s} s instead of {before.change_delay_s} s")
    return found


def _make(options: argparse.Namespace) -> int:
    from truechimer.cli import order_screen
    from truechimer.cli.order_place import OrderInputRejected, place
    from truechimer.daemon.orders.orders_words import policy_body
    from truechimer.errors import Rejected
    from truechimer.quorum.applier import settled
    from truechimer.quorum.operations import OperationRejected, quantity
    from truechimer.quorum.order_policy import Limits, OrderPolicy, OrderPolicyRejected, order_policy_from

    given = {name: getattr(options, name.removesuffix("_s")) for name in ("steer_s", "day_s", "total_s", "delay_s")}
    before, revoked = None, frozenset[str]()
    if options.laboratory is None or None in given.values():
        try:
            where = place(options.lab, None)
        except Rejected as error:
            raise OrderInputRejected(f"{error}; or give --laboratory, --steer, --day, --total and --delay") from None
        if where.orders is not None:
            state = settled(where.orders.applier, where.now)
            before, revoked = state.policy, state.revoked_keys | set(state.policy.revoked)
    try:
        limits = {
            name: _text(text) if text is not None or before is None else getattr(before.limits, name)
            for name, text in given.items()
        }
        for text in limits.values():
            quantity(text)
        made = OrderPolicy(
            laboratory=options.laboratory or ("" if before is None else before.laboratory),
            version=1 if before is None else before.version + 1,
            threshold=options.threshold,
            insecure_software_keys=options.insecure_software_keys,
            change_delay_s=round(options.delay_days * DAY_S),
            persons=tuple(_person(word, options) for word in options.person),
            revoked=tuple(sorted(revoked)),
            limits=Limits(**limits),
        )
        policy = order_policy_from(made.canonical())
    except (OrderPolicyRejected, OperationRejected, OverflowError) as error:
        raise OrderInputRejected(f"this would be no policy: {error}") from None
    try:
        descriptor = os.open(options.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(policy.canonical() + b"\n")
    except OSError as error:
        raise OrderInputRejected(f"{options.out}: {error.strerror}; name another file with --out") from None
    lines = [*order_screen.policy_lines(policy), f"written: {options.out}; nothing is in force by it"]
    _print(options, policy_body(policy) | {"path": str(options.out)}, lines)
    return GOOD


def _person(word: str, options: argparse.Namespace) -> Any:
    """Read NAME=FILE.pub[,FILE.pub]."""
    from truechimer.cli.order_place import OrderInputRejected
    from truechimer.quorum.order_policy import HeldKey, Person
    from truechimer.quorum.ssh_keys import SshRejected, key_of_line

    name, _, files = word.partition("=")
    if not name or not files:
        raise OrderInputRejected(f"--person {word!a}: write NAME=FILE.pub")
    keys = []
    for file in files.split(","):
        try:
            key = key_of_line(Path(file).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise OrderInputRejected(f"{file}: cannot be read ({error}); name a .pub file") from None
        except SshRejected as error:
            raise OrderInputRejected(f"{file}: {error}") from None
        held = "fido2" if key.on_authenticator else "pkcs11" if file in options.pkcs11 else "software"
        keys.append(HeldKey(key, held, verify=options.verify and key.on_authenticator))
    return Person(name, tuple(keys))


def _text(text: str | None) -> str:
    """Write a number in its one form; what is none is left for the check to name."""
    try:
        return repr(float(text or ""))
    except ValueError:
        return text or ""


def _print(options: argparse.Namespace, document: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(document) if options.json else "\n".join(lines))
