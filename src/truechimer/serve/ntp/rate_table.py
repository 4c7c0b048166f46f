"""The rate table: how often one source may ask, counted in a table of fixed size that nobody can fill.

It decides no policy (the limits come in) and reads no clock. One function, `admit`, over plain arrays: the loop in
Python calls it as it stands, the compiled one through `truechimer.kernel`. Hence the law of the file: whole numbers
below 2^62 only, no call of another function of ours, nothing allocated.

*A source* is an IPv4 address or an IPv6 /64; besides it each packet counts for its IPv4 /24 or IPv6 /48, which may ask
`PREFIX_FACTOR` times as often: who owns a whole network does not multiply his share by it.

*The count* is one number a source, the moment at which its account is full again (the virtual schedule of the generic
cell rate algorithm, ITU-T I.371): each answer moves it `interval_ns` on, and it may be `burst - 1` intervals ahead of
now. What is refused moves nothing, so who asks too often is still answered at the limit.

*Spoofers.* The place in the table is a keyed hash, so nobody can aim at a neighbour. A source that is not in the table
takes the place of the one in its set whose account is full soonest, which has the least to lose: a flood of addresses
that ask once each drives out its own kind, never the source that asks too much, and no honest source is ever refused
because a table is full. Of what is refused, one in `LEAK` is answered all the same: an address that somebody else uses
up by forging it still gets the time.

Source: RFC 5905 7.4 (kiss-o'-death RATE), RFC 8633 section 3.6 (reflection), RFC 9109.
"""

from array import array
from collections.abc import MutableSequence, Sequence

ANSWER, KISS, SILENCE = 0, 1, 2
"""The verdicts: answer it; say RATE; say nothing."""

WAYS = 8
PREFIX_FACTOR = 16
LEAK = 4
KISS_EVERY_NS = 1_000_000_000
"""A source hears RATE at most once in this time: a kiss for each packet would be an answer for each packet."""

DEFAULT_SETS = 8192
"""65,536 sources and prefixes, 1.5 MB."""

PRIME = 2**31 - 1
WORDS, KINDS = 4, 4
SECRETS = 2 * (WORDS + KINDS)
"""Numbers below `PRIME` that key the two hashes: one for each word of 16 bits, and one for each kind of place."""
SECRET_OCTETS = 4 * (SECRETS + 1)

# limits: what the policy says
INTERVAL_NS, BURST_NS, PREFIX_INTERVAL_NS, PREFIX_BURST_NS = 0, 1, 2, 3
LIMITS = 4

# state: [0] the lot of the leak; then counts
LOT, EVICTED, LEAKED = 0, 1, 2
STATES = 3


Octets = Sequence[int]
Numbers = MutableSequence[int]
"""What `admit` takes: octets, and arrays of int64 of either kind, NumPy's too."""


class RateTable:
    """The arrays of one table. `secret`: `SECRET_OCTETS` or more from the system's generator, kept to itself."""

    __slots__ = ("full_at_ns", "kissed_ns", "limits", "secrets", "state", "tags")

    def __init__(self, secret: bytes, *, rate_per_s: float, burst: int, sets: int = DEFAULT_SETS) -> None:
        if len(secret) < SECRET_OCTETS or sets & (sets - 1) or sets < 1 or rate_per_s <= 0.0 or burst < 1:
            raise ValueError("a rate table needs a secret, a power of two of sets, a rate above 0 and a burst of 1")
        words = [int.from_bytes(secret[4 * k : 4 * k + 4], "big") for k in range(SECRETS + 1)]
        self.secrets = array("q", [1 + word % (PRIME - 1) for word in words[:SECRETS]])
        self.tags = array("q", bytes(8 * sets * WAYS))
        self.full_at_ns = array("q", bytes(8 * sets * WAYS))
        self.kissed_ns = array("q", bytes(8 * sets * WAYS))
        interval_ns = max(1, round(1e9 / rate_per_s))
        prefix_ns = max(1, interval_ns // PREFIX_FACTOR)
        self.limits = array(
            "q", [interval_ns, (burst - 1) * interval_ns, prefix_ns, (burst * PREFIX_FACTOR - 1) * prefix_ns]
        )
        self.state = array("q", [words[SECRETS] % PRIME, 0, 0])

    def admit(self, address: bytes, now_ns: int) -> int:
        """Return the verdict on a packet from an address of 4 or 16 octets at `now_ns` of the raw counter."""
        return admit(
            address,
            0,
            len(address),
            now_ns,
            self.tags,
            self.full_at_ns,
            self.kissed_ns,
            self.secrets,
            self.limits,
            self.state,
        )


def admit(  # noqa: PLR0917 - a kernel takes its arrays one by one
    octets: Octets,
    at: int,
    length: int,
    now_ns: int,
    tags: Numbers,
    full_at_ns: Numbers,
    kissed_ns: Numbers,
    secrets: Numbers,
    limits: Numbers,
    state: Numbers,
) -> int:
    """Return the verdict on a packet, and count it.

    `octets[at:at + length]` is the address, 4 or 16 octets in the network's order; `now_ns` the raw counter. The other
    arrays (int64) are a `RateTable`'s. An IPv4 address mapped into IPv6 counts as the IPv4 address.
    """
    if length == 16:
        mapped = octets[at + 10] == 255 and octets[at + 11] == 255
        for k in range(10):
            if octets[at + k] != 0:
                mapped = False
        if mapped:
            at = at + 12
            length = 4
    sets_mask = (len(tags) >> 3) - 1
    source = -1
    prefix = -1
    for kind in range(2):
        # the source, then its network: 4 and 3 octets of IPv4, 8 and 6 of IPv6
        size = 4 - kind if length == 4 else 8 - 2 * kind
        which = kind if length == 4 else 2 + kind
        one = secrets[4 + which]
        other = secrets[12 + which]
        for k in range(0, size, 2):
            # multilinear hashing over words of 16 bits: each product is below 2^47, the sum below 2^50
            word = octets[at + k] * 256
            if k + 1 < size:
                word = word + octets[at + k + 1]
            one = one + secrets[k >> 1] * word
            other = other + secrets[8 + (k >> 1)] * word
        one = one % 2147483647
        other = other % 2147483647
        tag = one * 2147483648 + other + 1  # never 0, which is an empty place
        first = (one & sets_mask) << 3
        found = -1
        least = first
        for place in range(first, first + 8):
            if tags[place] == tag:
                found = place
                break
            if full_at_ns[place] < full_at_ns[least]:
                least = place
        if found < 0:
            found = least
            if full_at_ns[found] > now_ns:
                state[1] += 1
            tags[found] = tag
            full_at_ns[found] = 0
            kissed_ns[found] = 0
        if kind == 0:
            source = found
        else:
            prefix = found
    source_full_ns = max(now_ns, full_at_ns[source])
    prefix_full_ns = max(now_ns, full_at_ns[prefix])
    if source_full_ns - now_ns <= limits[1] and prefix_full_ns - now_ns <= limits[3]:
        full_at_ns[source] = source_full_ns + limits[0]
        full_at_ns[prefix] = prefix_full_ns + limits[2]
        return 0
    # who is drawn is answered all the same; a generator of Lehmer's, whose state nobody outside sees
    state[0] = (state[0] * 48271 + 11) % 2147483647
    if state[0] & 3 == 0:
        state[2] += 1
        return 0
    if kissed_ns[source] == 0 or now_ns - kissed_ns[source] >= 1000000000:
        kissed_ns[source] = now_ns
        return 1
    return 2
