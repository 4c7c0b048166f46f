"""The `truechimer` program: choose the verb's module by the first word, and turn what it raises into one line.

It parses no options (each verb does, with argparse) and imports nothing that a verb may not need: `now`, `status` and
`sources` must answer within 250 ms. Exit status (contract): 0 done and fine; 1 done and the answer is no; 2 wrong use
or unreadable input. Ctrl-C ends quietly with 130, a closed pipe with 141, as shells expect where a signal ended it.
"""

import os
import sys

VERBS: dict[str, tuple[str, str]] = {
    "ask": ("ask_verb", "ask any time server: offset, delay, bound"),
    "backcast": ("backcast_verb", "what our scale and steering would have done with a year of your own files"),
    "cggtts": ("cggtts_verb", "time transfer by satellites: read, compare and write CGGTTS files"),
    "check": ("check_verb", "say everything that is wrong with a laboratory's file, before anything starts"),
    "demo": ("demo_verb", "run a whole time laboratory on simulated clocks on this machine"),
    "diag": ("diag_verb", "check a running laboratory and this machine, with what to do about each fault"),
    "evidence": (
        "evidence_verb",
        "the signed log: publish, head, bundle, verify; replay a run; hold captured replies against it",
    ),
    "export": ("export_verb", "write the records as files for other people's tools (export parquet)"),
    "init": ("init_verb", "write a commented laboratory file to start from"),
    "now": ("now_verb", "say what time it is and how sure that is"),
    "order": ("order_verb", "orders that k of n persons sign: propose, sign, show, submit, veto"),
    "policy": ("policy_verb", "who may order what: show, check, make a policy"),
    "scale": ("scale_verb", "run the ensemble time scale over recorded readings (scale replay)"),
    "sim": ("sim_verb", "make readings, truth and events of a simulated laboratory (sim make)"),
    "sources": ("sources_verb", "list who says what UTC is, with chrony's marks"),
    "stability": ("stability_verb", "frequency stability and time error of recorded series, with intervals"),
    "status": ("status_verb", "show the running laboratory on one screen"),
    "test": ("test_verb", "run the checks and core tests of a checkout (--ci: what CI runs)"),
    "top": ("top_verb", "show the running laboratory on a live screen"),
    "up": ("up_verb", "run a laboratory from its file"),
    "utc": ("utc_verb", "what is exchanged about UTC: Circular T, rapid UTC, clock data, leap seconds (utc read)"),
    "verdict": ("verdict_verb", "was the time moved? judge each second of an interval from the records alone"),
    "wait": ("wait_verb", "block until the bound is small enough (wait --within S)"),
    "witness": ("witness_verb", "vouch for the logs of others: cosign them over HTTP, or from a file (witness run)"),
}
"""Verb: (module of this package, one line of help). A test compares this table with the modules that are there."""

_USAGE = """\
usage: truechimer VERB [options]

A standard time you can prove: made from your clocks, kept on UTC, served with an honest bound.
"""


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit status; no error that a user can cause ends in a traceback."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_help())
        return 0 if words else 2
    if words[0] in {"-V", "--version", "version"}:
        from truechimer._version import __version__

        print(f"truechimer {__version__}")
        return 0
    verb = words[0]
    if verb not in VERBS:
        print(f"truechimer: {_unknown(verb)}", file=sys.stderr)
        return 2
    return _run(verb, words[1:])


def _run(verb: str, arguments: list[str]) -> int:
    from importlib import import_module

    from truechimer.errors import Rejected

    try:
        status: int = import_module(f"truechimer.cli.{VERBS[verb][0]}").main(arguments)
        sys.stdout.flush()  # a pipe that closed is noticed here, not in the interpreter's last breath
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`truechimer ... | head`): nobody is left to tell. Python would complain at exit about the
        # unwritten rest, so it gets a place to write it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Rejected as error:
        print(f"truechimer {verb}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return status


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [_USAGE, "verbs:"]
    lines += [f"  {verb:<{width}}  {VERBS[verb][1]}" for verb in sorted(VERBS)]
    lines += ["", "`truechimer VERB --help` explains one verb; `truechimer --version` prints the version.", _STATUS]
    return "\n".join(lines)


_STATUS = "Exit status: 0 done and fine; 1 done and the answer is no; 2 wrong use or unreadable input."


def _unknown(word: str) -> str:
    from difflib import get_close_matches

    shown = "".join(letter if letter.isprintable() else "?" for letter in word[:40])
    near = get_close_matches(word, VERBS, n=1)
    if near:
        return f"there is no verb {shown}; did you mean {near[0]}?"
    return f"there is no verb {shown}; `truechimer --help` lists the verbs"


if __name__ == "__main__":
    raise SystemExit(main())
