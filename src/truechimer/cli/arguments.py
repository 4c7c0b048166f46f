"""One kind of option parser for all verbs: wrong use is told in one line, with where to read more, and status 2.

It defines no verb's options. argparse is our CLI library: it comes with Python and costs `now` and `status` about 10 ms
(ADR 0003).
"""

import argparse
from typing import NoReturn


class VerbParser(argparse.ArgumentParser):
    """argparse without its habit of printing the whole usage before the one line that matters."""

    def error(self, message: str) -> NoReturn:
        """Say what was wrong in one line and leave with status 2."""
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` explains\n")


def verb_parser(verb: str, does: str) -> VerbParser:
    """Return the parser of a verb; abbreviations of options are refused, since scripts would come to depend on them."""
    return VerbParser(prog=f"truechimer {verb}", description=does, allow_abbrev=False)
