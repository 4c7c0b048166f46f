"""`truechimer order propose|veto|sign|show|submit|apply`: what k of n persons sign, from the proposal to its record.

It decides nothing: the laboratory does. Exit status: 0 done (of `show`: would be taken now), 1 refused or not enough
signatures yet, 2 wrong use or unreadable input.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.lab_words import long_span, plain

DONE, NO = 0, 1
PATIENCE_S = 30.0
TURN_S = 0.2


def parser() -> VerbParser:
    """Return the command line of `order`."""
    options = verb_parser("order", "Orders that k of n persons sign: propose, sign, show, submit, veto.")
    verbs = options.add_subparsers(dest="what", required=True, metavar="propose|sign|show|submit|veto|apply")
    propose = verbs.add_parser("propose", help="write an order for others to sign", allow_abbrev=False)
    propose.add_argument("op", metavar="OPERATION", help="e.g. steering-envelope, calibration-delay, clock-membership")
    propose.add_argument("--target", help="what it changes: a clock, a link, the scale, a key's fingerprint")
    propose.add_argument("--value", help="by how much or to what, in SI units (2e-9), or in|out")
    propose.add_argument("--unit", help="unit of the value (default: the operation's first)")
    propose.add_argument("--file", type=Path, help="the file that it names (leap table, policy, envelope)")
    propose.add_argument("--because", required=True, help="why: everybody who signs reads it")
    propose.add_argument("--edited", type=Path, metavar="NEW.toml", help="of configuration: the file as it shall be")
    propose.add_argument("--allow", metavar="NETWORK,...", help="of listener-policy: whom the door answers")
    propose.add_argument("--bound-limit", type=float, dest="bound_limit_s", metavar="S", help="of listener-policy")
    propose.add_argument("--hours", type=float, help="how long it may wait and hold (default 12, mostly at most 24)")
    propose.add_argument(
        "--days", type=float, help="of envelopes (default 90), weights and thresholds: how long it holds, at most 90"
    )
    propose.add_argument("--per-change", type=float, dest="per_change", help="of an envelope: most rate by one steer")
    propose.add_argument("--per-day", type=float, dest="per_day_s", metavar="S", help="of an envelope: most in a day")
    propose.add_argument("--total", type=float, dest="total_s", metavar="S", help="of an envelope: most in all")
    propose.add_argument("--out", type=Path, help="where to write it (default: the laboratory's policy/orders)")
    veto = verbs.add_parser("veto", help="write a veto of the policy that waits; one key is enough", allow_abbrev=False)
    veto.add_argument("--because", required=True, help="why")
    veto.add_argument("--out", type=Path, help="where to write it")
    sign = verbs.add_parser("sign", help="show an order, then sign it", allow_abbrev=False)
    sign.add_argument("order", type=Path, metavar="ORDER")
    sign.add_argument("--key", type=Path, required=True, help="private key, or the .pub of one on a token or agent")
    sign.add_argument("--yes", action="store_true", help="do not ask: I have read it")
    show = verbs.add_parser("show", help="what an order would do and who is missing; without ORDER all of them")
    show.add_argument("order", type=Path, metavar="ORDER", nargs="?")
    submit = verbs.add_parser("submit", help="give an order or a veto to the running laboratory", allow_abbrev=False)
    submit.add_argument("order", type=Path, metavar="ORDER")
    applies = verbs.add_parser("apply", help="judge an order on the applier's own host, by its own file and clock")
    applies.add_argument("order", type=Path, metavar="ORDER")
    applies.add_argument("--chain", type=Path, required=True, metavar="FILE", help="the applier's own file; only grows")
    applies.add_argument("--policy", type=Path, metavar="FILE", help="the policy to begin with, once")
    applies.add_argument(
        "--simulated-stepper", type=Path, metavar="FILE", help="drive a phase stepper without hardware"
    )
    for one in (propose, veto, sign, show, submit, applies):
        one.add_argument("--lab", metavar="DIR", help="the laboratory's folder (default: the one that runs here)")
        one.add_argument("--json", action="store_true", help="print one JSON document")
    for one in (sign, show):
        one.add_argument("--policy", type=Path, metavar="FILE", help="on another machine: the policy alone")
    return options


def main(argv: list[str]) -> int:
    """Do one of them; `argv` is what follows `order`."""
    options = parser().parse_args(argv)
    does = {"propose": _propose, "veto": _propose, "sign": _sign, "show": _show, "submit": _submit, "apply": _apply}
    return does[options.what](options)


def _propose(options: argparse.Namespace) -> int:
    from truechimer.cli import order_propose, order_screen
    from truechimer.cli.order_place import place
    from truechimer.daemon.orders import proposals

    where = place(options.lab, None)
    path = order_propose.veto(options, where) if options.what == "veto" else order_propose.propose(options, where)
    proposal = proposals.read(path)
    _print(options, _document(proposal, where) | {"path": str(path)}, order_screen.proposal_lines(proposal, where))
    return DONE


def _sign(options: argparse.Namespace) -> int:
    from truechimer.cli import order_screen, order_sign
    from truechimer.cli.order_place import OrderInputRejected, place
    from truechimer.daemon.orders import proposals

    where = place(options.lab, options.policy)
    proposal = proposals.read(options.order)
    if not options.yes:
        print("\n".join(order_screen.proposal_lines(proposal, where)), file=sys.stderr)
        if not sys.stdin.isatty():
            raise OrderInputRejected(
                "nobody is there to say yes: read it with `truechimer order show`, then give --yes"
            )
        print("sign this? type yes: ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip() != "yes":
            print("not signed", file=sys.stderr)
            return NO
    made = order_sign.sign(proposal, options.key)
    signed = proposals.read(options.order)
    lines = [f"signed: {made}", *order_screen.proposal_lines(signed, where)]
    _print(options, _document(signed, where) | {"signature": str(made)}, lines)
    return DONE


def _show(options: argparse.Namespace) -> int:
    from truechimer.cli import order_screen
    from truechimer.cli.order_place import place
    from truechimer.daemon.orders import proposals

    where = place(options.lab, options.policy)
    if options.order is not None:
        proposal = proposals.read(options.order)
        document = _document(proposal, where)
        _print(options, document, order_screen.proposal_lines(proposal, where))
        return DONE if document["enough"] and "refused" not in document else NO
    from truechimer.client import ask

    document = ask("orders", lab=where.folder)
    _print(options, document, _all_lines(document))
    return DONE


def _submit(options: argparse.Namespace) -> int:
    from truechimer.cli import order_screen
    from truechimer.cli.order_place import OrderInputRejected
    from truechimer.client import find_service, send
    from truechimer.daemon.orders import proposals

    proposal = proposals.read(options.order)
    place = find_service(options.lab)
    taken = send({"ask": "submit"} | proposal.request(), lab=place)
    until = time.monotonic() + PATIENCE_S
    said: dict[str, Any] = {}
    while time.monotonic() < until:
        said = send({"ask": "submit", "number": taken.get("number")}, lab=place)
        if said.get("outcome") != "waits-its-turn":
            break
        time.sleep(TURN_S)
    else:
        raise OrderInputRejected(
            f"the laboratory has it and did not come to it within {PATIENCE_S:.0f} s (a start that catches up?): "
            "`truechimer order show` says what became of it"
        )
    _print(options, said, [order_screen.outcome_line(said)])
    return DONE if said.get("outcome") in {"applied", "waits", "vetoed"} else NO


def _apply(options: argparse.Namespace) -> int:
    from truechimer.cli import order_apply, order_screen
    from truechimer.cli.order_place import present, read_policy
    from truechimer.daemon.orders import proposals
    from truechimer.sim.stepper import SimulatedStepper

    policy = None if options.policy is None else read_policy(options.policy)
    now = present(options.lab)
    stepper = None if options.simulated_stepper is None else SimulatedStepper(options.simulated_stepper)
    said = order_apply.apply(proposals.read(options.order), options.chain, policy, now, actuator=stepper)
    if stepper is not None:
        said["simulated_phase_s"] = stepper.phase_s(now.earliest_ns)
    done = [order_screen.row("done", one) for one in said.get("done", ())]
    _print(options, said, [order_screen.outcome_line(said), *done])
    return DONE if order_apply.is_lawful(said) else NO


def _document(proposal: Any, where: Any) -> dict[str, Any]:
    """Return a proposal as a document."""
    from truechimer.daemon.orders import proposals

    document = proposals.document(proposal, where.orders, where.now, where.leaps)
    if where.folder is None:  # only a policy is known: nobody can say what the laboratory would do
        document.pop("refused", None)
        document.pop("says", None)
    return document


def _print(options: argparse.Namespace, document: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(document) if options.json else "\n".join(lines))


def _all_lines(document: dict[str, Any]) -> list[str]:
    """Return the screen of everything: policy, envelope, what waits, proposals, and the last orders."""
    from truechimer.cli.order_screen import outcome_line, row

    if document.get("observing"):
        return [row("orders", str(document.get("says")))]
    policy = document["policy"]
    lines = [row("policy", f"version {policy['version']} ({policy['sha256'][:12]}): {policy['sentence']}")]
    envelope = document.get("envelope")
    if isinstance(envelope, dict):
        by = ", ".join(envelope["signed_by"])
        lines.append(row("envelope", f"until {envelope['valid_until'][:19]} UTC, signed by {by}"))
    else:
        lines.append(row("NO ENVELOPE", str(document.get("envelope_refused"))))
    waits = document.get("policy_change")
    if isinstance(waits, dict):
        lines.append(
            row(
                "POLICY",
                f"version {waits['version']} comes into force at {waits['in_force'][:19]} UTC, in "
                f"{long_span(waits['left_s'])}: {waits['sentence']}; signed by {', '.join(waits['by'])}",
            )
        )
        lines.append(row("to stop it", 'truechimer order veto --because "..."; any one key is enough'))
    lines.append(
        row("moved", f"{document['moved_in_a_day_s']:.3g} s in a day, {document['moved_in_all_s']:.3g} s in all")
    )
    if document["clocks_out"]:
        lines.append(row("out", ", ".join(document["clocks_out"])))
    for one in document.get("timed", ()):
        what = f"order {one['sequence']}: {plain(one['sentence'])}"
        lines.append(row("holds", f"{what}; until {one['ends'][:19]} UTC, {long_span(one['left_s'])} left"))
    for one in document.get("doors", ()):
        allow = ", ".join(one["allow"])
        lines.append(row("door", f"{one['listener']} answers {allow}, up to a bound of {one['bound_limit_s']:g} s"))
    if document.get("log_keys"):
        lines.append(row("log keys", "by order; `truechimer order show --json` has them"))
    lines.append(row("next", f"order {document['next']['sequence']}"))
    for one in document.get("proposals", ()):
        state = "enough signatures" if one["enough"] else f"{len(one['signed_by'])} of {one['needed']} signed"
        lines.append(row("proposed", f"{one['file']}: {one['sentence']}; {state}"))
    for one in document["last"]:
        what = one.get("order", {}).get("sentence", one.get("what", ""))
        lines.append(row("order", f"{plain(what)}: {outcome_line(one)}"))
    return lines
