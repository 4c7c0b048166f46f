"""The two families of errors: ours and theirs.

A `Misuse` is a bug in truechimer or in code that calls it: let it rise. A `Rejected` is hostile or broken input:
expected, counted,
never a crash. Both carry fields, and their text tells an operator what to do. A decision is not an error: it is a
returned value.
"""


class TruechimerError(Exception):
    """Base of every error that truechimer raises on purpose."""


class Misuse(TruechimerError):
    """A bug on our side of the door (wrong call, broken invariant): let it rise."""


class Rejected(TruechimerError):
    """Broken or hostile input from the other side of the door: refuse it, count it, carry on."""
