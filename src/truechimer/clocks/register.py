"""The register: which clocks, outside references and links a laboratory has, by name and by index.

It holds no readings and no state. Nodes are numbered: first the clocks in the order of the laboratory file (the `host`
among them where it is read), then the references that claim UTC (`UTC`, `UTCr`, `UTC.<lab>`). The register only grows:
an index once given never changes its meaning, so that arrays of an older register can be carried over.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.errors import Misuse, Rejected
from truechimer.formats.readings_csv import claims_utc


class UnknownLinkRejected(Rejected):
    """A reading names a pair of clocks that the register does not hold."""

    def __init__(self, a: str, b: str) -> None:
        """Keep the pair."""
        super().__init__(
            f"no link {a} - {b} in the register: name both in the laboratory file, or let the register grow"
        )
        self.a, self.b = a, b


def is_reference(name: str) -> bool:
    """Return True for a name that claims UTC: `UTC`, `UTCr`, `GPST` or `UTC.<lab>`."""
    return claims_utc(name)


@dataclass(frozen=True, slots=True)
class Reference:
    """A source that claims UTC; `operator` groups those that one hand could move together."""

    name: str
    operator: str


@dataclass(frozen=True, slots=True)
class Link:
    """One comparison path: node index `a` minus node index `b`."""

    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Outside:
    """A link to a reference: link index, reference index, clock index, and the sign that makes it reference minus
    clock.
    """

    link: int
    reference: int
    clock: int
    sign: float


@dataclass(frozen=True, slots=True)
class Register:
    """Clocks, references and links of a laboratory.

    Invariant: node index of clock i is i; of reference k is `len(clocks) + k`; `link_a[j], link_b[j]` are the node
    indices of link j; `outside` lists the links to references.
    """

    clocks: tuple[Clock, ...]
    references: tuple[Reference, ...]
    links: tuple[Link, ...]
    node_index: dict[str, int] = field(init=False, compare=False, repr=False)
    link_a: NDArray[np.int64] = field(init=False, compare=False, repr=False)
    link_b: NDArray[np.int64] = field(init=False, compare=False, repr=False)
    outside: tuple[Outside, ...] = field(init=False, compare=False, repr=False)
    _pairs: dict[tuple[int, int], tuple[int, float]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Index the names and the pairs once."""
        names = [clock.name for clock in self.clocks] + [reference.name for reference in self.references]
        if len(set(names)) != len(names):
            raise Misuse(f"a name stands twice in the register: {sorted({n for n in names if names.count(n) > 1})}")
        put = object.__setattr__
        put(self, "node_index", {name: index for index, name in enumerate(names)})
        put(self, "link_a", np.array([link.a for link in self.links], dtype=np.int64))
        put(self, "link_b", np.array([link.b for link in self.links], dtype=np.int64))
        pairs: dict[tuple[int, int], tuple[int, float]] = {}
        for index, link in enumerate(self.links):
            pairs[(link.a, link.b)] = (index, 1.0)
            pairs.setdefault((link.b, link.a), (index, -1.0))
        put(self, "_pairs", pairs)
        n = len(self.clocks)
        outside = []
        for index, link in enumerate(self.links):
            if link.a >= n > link.b:
                outside.append(Outside(index, link.a - n, link.b, 1.0))
            elif link.b >= n > link.a:
                outside.append(Outside(index, link.b - n, link.a, -1.0))
        put(self, "outside", tuple(outside))

    @property
    def n_clocks(self) -> int:
        """Number of clocks, the host among them."""
        return len(self.clocks)

    @property
    def n_nodes(self) -> int:
        """Number of clocks and references."""
        return len(self.clocks) + len(self.references)

    @property
    def host(self) -> int | None:
        """Node index of the host, or None where no reading names it."""
        return self.node_index.get("host")

    def name_of(self, node: int) -> str:
        """Return the name of a node."""
        if node < len(self.clocks):
            return self.clocks[node].name
        return self.references[node - len(self.clocks)].name

    def link_name(self, index: int) -> str:
        """Return a link's name, `a-b`."""
        link = self.links[index]
        return f"{self.name_of(link.a)}-{self.name_of(link.b)}"

    def link_index(self, a: str, b: str) -> tuple[int, float]:
        """Return the index of the link between two names and the sign (+1 as asked, -1 the other way round)."""
        try:
            return self._pairs[(self.node_index[a], self.node_index[b])]
        except KeyError:
            raise UnknownLinkRejected(a, b) from None

    def with_links(self, pairs: Iterable[tuple[str, str]], *, operators: dict[str, str] | None = None) -> "Register":
        """Return the register grown by pairs it does not hold yet, or itself where there are none.

        A new name that claims UTC becomes a reference (its own operator unless `operators` names one); `host` becomes a
        clock of kind host only where it stands among `clocks` already. A name that is neither raises
        `UnknownLinkRejected`: a clock is declared.
        """
        references, links = list(self.references), list(self.links)
        index = dict(self.node_index)
        known = set(self._pairs)
        for a, b in pairs:
            for name in (a, b):
                if name not in index:
                    if not is_reference(name):
                        raise UnknownLinkRejected(a, b)
                    index[name] = len(self.clocks) + len(references)
                    references.append(Reference(name, (operators or {}).get(name, name)))
            pair = (index[a], index[b])
            if pair not in known:
                links.append(Link(*pair))
                known |= {pair, pair[::-1]}
        if len(links) == len(self.links):
            return self
        return replace(self, references=tuple(references), links=tuple(links))


def host_clock() -> Clock:
    """Return the host's oscillator as a clock: an observer wherever another clock stands beside it."""
    return Clock(name="host", kind=ClockKind.HOST)
