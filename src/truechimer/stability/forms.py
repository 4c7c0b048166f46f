"""Which form of a loop runs, machine code or NumPy, and how work is spread over threads.

It knows no statistic.

Law. The sums of `loops.py` have the same bits in either form, so which one runs is a matter of time alone. Numba takes
half a second to load, hence short work is done in NumPy until machine code would have paid. The sums of `loops_long.py`
and `loops_theo.py` always run as machine code where there is Numba.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from truechimer.stability import arrays

LOADING_PAYS = 1 << 20
"""Terms that are summed in NumPy, in some ten milliseconds, before Numba is loaded for the rest."""

Spread = Callable[..., Iterable[Any]]
"""How pieces of work are worked off: `map`, or the `map` of a pool of threads (kernels release the lock)."""

PORTIONS = 64
"""Into how many portions many small pieces of work are put together, so that a pool is not asked for each of them."""

Work = TypeVar("Work")
Done = TypeVar("Done")

_summed = [0]


def compiled() -> bool:
    """Return True where loops can run as machine code; loads Numba."""
    from truechimer.kernel import COMPILED

    return COMPILED


def loop(name: str, terms: int) -> Callable[..., Any]:
    """Return the loop of this name for work of so many terms, from `loops.py` or `arrays.py`."""
    if "truechimer.kernel" not in sys.modules:
        _summed[0] += terms
        if _summed[0] < LOADING_PAYS:
            return getattr(arrays, name)  # type: ignore[no-any-return]
    if not compiled():
        return getattr(arrays, name)  # type: ignore[no-any-return]
    from truechimer.stability import loops

    return getattr(loops, name)  # type: ignore[no-any-return]


def spread_over(spread: Spread, do: Callable[[Work], Done], work: list[Work]) -> list[Done]:
    """Return what `do` makes of each piece of work, in their order; bit for bit the same whatever `spread` is."""
    size = max(1, len(work) // PORTIONS)
    portions = [work[k : k + size] for k in range(0, len(work), size)]
    done: list[Done] = []
    for portion in spread(lambda each: [do(one) for one in each], portions):
        done += portion
    return done
