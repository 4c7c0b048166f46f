"""Path delay: how far from the quietest path an exchange was, and so how noisy what it says is.

It knows no protocol. An exchange over a path with queues is off by at most half of what both ways had too much; the
least delay of the last exchanges stands for the path without queues (Mills 1992; RFC 5905 section 10 chooses the sample
of least delay for the same reason). Which the least is, few exchanges do not know: the first one looks perfect.
"""

from collections.abc import Sequence


def noise_s(delays_s: Sequence[float]) -> float:
    """Return one sigma (s) of the last exchange's offset by its delay among the last ones (at least one, in order).

    The least of n delays with exponential queues lies above the path's own by 1/n of the mean queue, which the excess
    of the others shows. From one exchange nothing is known but that the delay may be all queue; two or three may be
    alike by chance, so 1/n^2 of that doubt stays.
    """
    n, last_s, least_s = len(delays_s), delays_s[-1], min(delays_s)
    unseen_s = (sum(delays_s) / n - least_s) / (n - 1) if n > 1 else 0.0
    return max(last_s - least_s + unseen_s + least_s / (n * n), 0.0) / 2.0
