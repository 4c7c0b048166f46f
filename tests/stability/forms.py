"""The statistics as quadratic forms of the phases, and the exact law of their squared values in Gaussian noise.

A squared value is x' A x. For power-law noise with the generalised covariance S, which is enough since A annihilates
straight lines, it is distributed as the sum of weight(k) chi2(1) with the eigenvalues of A S as weights. So its degrees
of freedom, its skewness, and how often an interval holds the truth are computed here, not simulated.

Source: the definitions as in `literal.py`; distribution by Imhof, Biometrika 48 (1961).
"""

import numpy as np


def form(name: str, m: int, n: int) -> np.ndarray:
    """Return A (n, n), up to a factor."""
    if name in {"adev", "oadev", "hdev", "ohdev"}:
        order = 3 if name.endswith("hdev") else 2
        taps = np.zeros(order * m + 1)
        taps[::m] = [(-1.0) ** k * np.prod([(order - j) / (j + 1) for j in range(k)]) for k in range(order + 1)]
        return _of_taps(taps, range(0, n - order * m, 1 if name.startswith("o") else m), n)
    if name in {"mdev", "tdev"}:
        return _of_taps(
            np.convolve(np.repeat([1.0, -2.0, 1.0], [1, 1, 1]) @ _spread(m), np.ones(m)), range(n - 3 * m + 1), n
        )
    if name == "pdev":
        if m == 1:
            return form("oadev", 1, n)
        ramp = 0.5 * (m - 1) - np.arange(m)
        return _of_taps(np.concatenate([ramp, -ramp]), range(n - 2 * m), n)
    if name == "totdev":
        every = np.eye(n)
        star = np.concatenate([2 * every[0] - every[1:][::-1], every, 2 * every[-1] - every[:-1][::-1]])
        middle = np.arange(n, 2 * n - 2)
        rows = star[middle - m] - 2 * star[middle] + star[middle + m]
        return rows.T @ rows
    if name in {"mtotdev", "ttotdev", "htotdev"}:
        if name == "htotdev" and m == 1:
            return form("ohdev", 1, n)
        window = _window(m)
        if name == "htotdev":
            window = window @ np.diff(np.eye(3 * m + 1), axis=0)
        return _of_squares(window.T @ window, n)
    if name == "theo1":
        out = np.zeros((n, n))
        i = np.arange(n - m)
        for k in range(1, m // 2 + 1):
            places = ((0, 1.0), (k, -1.0), (m, 1.0), (m - k, -1.0))
            for a, weight in places:
                for b, other in places:
                    np.add.at(out, (i + a, i + b), weight * other / k)
        return out
    raise ValueError(name)


def _spread(m: int) -> np.ndarray:
    rows = np.zeros((3, 2 * m + 1))
    rows[[0, 1, 2], [0, m, 2 * m]] = 1.0
    return rows


def _of_taps(taps: np.ndarray, starts: range, n: int) -> np.ndarray:
    rows = np.zeros((len(starts), n))
    for row, start in enumerate(starts):
        rows[row, start : start + taps.size] = taps
    return rows.T @ rows


def _of_squares(square: np.ndarray, n: int) -> np.ndarray:
    out = np.zeros((n, n))
    size = square.shape[0]
    for start in range(n - size + 1):
        out[start : start + size, start : start + size] += square
    return out


def _window(m: int) -> np.ndarray:
    """The 6m second differences of averages of a reflected window, as a matrix on its 3m values."""
    size = 3 * m
    half = size // 2
    every = np.eye(size)
    slope = (every[size - half :].mean(0) - every[:half].mean(0)) / (half if size % 2 == 0 else half + 1)
    flat = every - np.outer(np.arange(size), slope)
    running = np.concatenate([np.zeros((1, size)), np.cumsum(np.concatenate([flat[::-1], flat, flat[::-1]]), axis=0)])
    sums = running[m:] - running[:-m]
    return sums[: 6 * m] - 2 * sums[m : 7 * m] + sums[2 * m : 8 * m]


def covariance(alpha: int, n: int) -> np.ndarray:
    """Return S (n, n) of phases of power-law noise, (2 sin(pi f))^(alpha - 2), up to what straight lines change."""
    lag = np.arange(n, dtype=np.float64)
    odd = np.concatenate([[0.0], -np.cumsum(2.0 / (2.0 * np.arange(1, n) - 1.0)) / np.pi])
    if alpha == 2:
        s = (lag == 0).astype(float)
    elif alpha == 1:
        s = odd
    elif alpha == 0:
        s = -0.5 * lag
    elif alpha == -2:
        s = (lag**3 - lag) / 12.0
    else:  # its second difference is minus the covariance of flicker PM
        s = np.zeros(n)
        for k in range(1, n - 1):
            s[k + 1] = 2 * s[k] - s[k - 1] - odd[k]
    return s[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]


def weights(name: str, alpha: int, m: int, n: int) -> np.ndarray:
    """Return the weights of the independent chi-squares of one degree that make up the squared value, sum 1."""
    size, place = np.linalg.eigh(form(name, m, n))
    kept = size > size[-1] * 1e-13
    root = place[:, kept] * np.sqrt(size[kept])
    found = np.linalg.eigvalsh(root.T @ covariance(alpha, n) @ root)
    found = found[found > found[-1] * 1e-12]
    return found / found.sum()


def edf_and_skew(found: np.ndarray) -> tuple[float, float]:
    """Return edf and the sum of cubes times edf^2: 1 for a plain chi-square."""
    edf = 1.0 / float(np.sum(found**2))
    return edf, float(np.sum(found**3)) * edf**2


def probability_below(found: np.ndarray, x: float) -> float:
    """Return P(sum of found(k) chi2(1) < x) by Imhof's integral; tiny weights count as their means."""
    large = found[found > 1e-6 * found.max()]
    x -= float(np.sum(found)) - float(np.sum(large))
    width = 1.0 / float(np.sqrt(np.sum(large**2)))
    top = width
    while 0.25 * np.sum(np.log1p((top * large) ** 2)) + np.log(top) < 18.0 and top < 1e9:
        top *= 1.3
    bend = min(top, 40.0 * width)
    panels = np.unique(np.concatenate([np.linspace(0.0, bend, 60), np.geomspace(bend, top, 120)]))
    edges = [0.0]
    for stop in panels[1:]:
        count = min(max(1, int(np.ceil((stop - edges[-1]) / 4.0))), 400)
        edges += list(edges[-1] + (stop - edges[-1]) * np.arange(1, count + 1) / count)
    ends = np.array(edges)
    node, weight = np.polynomial.legendre.leggauss(8)
    middle, half = (ends[1:] + ends[:-1]) / 2, (ends[1:] - ends[:-1]) / 2
    u = (middle[:, None] + half[:, None] * node).ravel()
    du = (half[:, None] * weight).ravel()
    total = 0.0
    for start in range(0, u.size, 2000):
        part = u[start : start + 2000]
        product = np.multiply.outer(part, large)
        angle = 0.5 * np.arctan(product).sum(axis=1) - 0.5 * x * part
        size = 0.25 * np.log1p(product * product).sum(axis=1)
        total += float(np.sum(du[start : start + 2000] * np.sin(angle) / part * np.exp(-size)))
    return 0.5 - total / np.pi
