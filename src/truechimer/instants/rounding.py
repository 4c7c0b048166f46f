"""Exact integer rounding: one division, said in the open.

It knows no units. Python's `//` rounds towards minus infinity, which for a time is "towards the past"; the two
functions here are the other directions that stamps and bounds need.
"""


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator/denominator rounded to the nearest integer, a tie to the even one; `denominator` > 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def divide_up(numerator: int, denominator: int) -> int:
    """Return numerator/denominator rounded towards plus infinity; `denominator` > 0."""
    return -(-numerator // denominator)
