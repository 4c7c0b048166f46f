"""The register: names, indices that never change their meaning, links by sign, sources of UTC by operator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.clocks.register import Register, UnknownLinkRejected, host_clock, is_reference
from truechimer.clocks.state_model import two_state_noise
from truechimer.errors import Misuse


def clocks(names: str) -> tuple[Clock, ...]:
    return tuple(Clock(name=name, kind=ClockKind.CAESIUM) for name in names.split())


def begun(names: str = "A B C") -> Register:
    return Register(clocks(names), (), ())


def test_nodes_are_clocks_first_then_references_in_the_order_they_came() -> None:
    reg = Register((*clocks("A B"), host_clock()), (), ()).with_links([("B", "A"), ("UTC.P", "A"), ("UTC", "host")])
    assert [reg.name_of(k) for k in range(reg.n_nodes)] == ["A", "B", "host", "UTC.P", "UTC"]
    assert (reg.n_clocks, reg.n_nodes, reg.host) == (3, 5, 2)
    assert begun().host is None
    assert reg.link_a.tolist() == [1, 3, 4]
    assert reg.link_b.tolist() == [0, 0, 2]


def test_links_to_utc_know_their_sign_whichever_side_utc_stands_on() -> None:
    reg = begun().with_links([("UTC.P", "A"), ("B", "UTC.Q"), ("B", "A")])
    assert [(o.link, o.reference, o.clock, o.sign) for o in reg.outside] == [(0, 0, 0, 1.0), (1, 1, 1, -1.0)]


def test_a_pair_is_found_both_ways_round_with_its_sign() -> None:
    reg = begun().with_links([("B", "A")])
    assert reg.link_index("B", "A") == (0, 1.0)
    assert reg.link_index("A", "B") == (0, -1.0)
    assert reg.link_name(0) == "B-A"


@pytest.mark.parametrize("pair", [("B", "C"), ("A", "Z"), ("Z", "A"), ("UTC.X", "A")])
def test_an_unknown_pair_is_rejected(pair: tuple[str, str]) -> None:
    with pytest.raises(UnknownLinkRejected):
        begun().with_links([("B", "A")]).link_index(*pair)


def test_a_clock_is_declared_and_never_invented() -> None:
    for pair in (("Z", "A"), ("A", "Z"), ("host", "A"), ("utc", "A")):
        with pytest.raises(UnknownLinkRejected):
            begun().with_links([pair])


@pytest.mark.parametrize("name", ["UTC", "UTCr", "GPST", "UTC.P", "UTC.x-1"])
def test_names_that_claim_utc_become_references(name: str) -> None:
    assert is_reference(name)
    reg = begun().with_links([(name, "A")], operators={"UTC.P": "hand"})
    assert reg.references[0].name == name
    assert reg.references[0].operator == ("hand" if name == "UTC.P" else name)


def test_a_register_that_learns_nothing_new_is_itself() -> None:
    reg = begun().with_links([("B", "A"), ("UTC.P", "A")])
    assert reg.with_links([("A", "B"), ("UTC.P", "A")]) is reg


def test_two_clocks_of_one_name_are_our_own_mistake() -> None:
    with pytest.raises(Misuse):
        begun("A B A")


PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C", "UTC.P", "UTC.Q", "UTC"]), st.sampled_from(["A", "B", "C", "UTC.S"])
    ).filter(lambda pair: pair[0] != pair[1]),
    max_size=12,
)


@given(PAIRS, PAIRS)
def test_growth_keeps_every_index(first: list[tuple[str, str]], more: list[tuple[str, str]]) -> None:
    reg = begun().with_links(first)
    grown = reg.with_links(more)
    assert grown.links[: len(reg.links)] == reg.links
    assert grown.references[: len(reg.references)] == reg.references
    assert grown.outside[: len(reg.outside)] == reg.outside
    assert [grown.name_of(k) for k in range(reg.n_nodes)] == [reg.name_of(k) for k in range(reg.n_nodes)]
    for a, b in first + more:
        index, sign = grown.link_index(a, b)
        link = grown.links[index]
        assert (grown.name_of(link.a), grown.name_of(link.b)) == ((a, b) if sign > 0 else (b, a))


def test_growing_at_once_and_step_by_step_is_the_same() -> None:
    pairs = [("B", "A"), ("UTC.P", "B"), ("C", "UTC.Q"), ("C", "A")]
    once, steps = begun().with_links(pairs), begun()
    for pair in pairs:
        steps = steps.with_links([pair])
    assert steps == once


@pytest.mark.parametrize("kind", list(ClockKind))
def test_every_kind_has_noise_and_what_is_declared_replaces_it(kind: ClockKind) -> None:
    usual = two_state_noise(Clock(name="x", kind=kind))
    assert usual.q1 > 0.0
    assert usual.y_spread > 0.0
    assert not usual.declared
    noise = NoiseModel(white_fm_1s=2e-13, random_walk_fm_1s=3e-18, flicker_fm=4e-16, drift_per_day=1e-16)
    said = two_state_noise(Clock(name="x", kind=kind, noise=noise))
    assert said.q1 == pytest.approx(4e-26)
    assert said.q2 == pytest.approx(27e-36)
    assert (said.floor, said.drift_per_day, said.declared) == (4e-16, 1e-16, True)
    assert said.y_spread == usual.y_spread


def test_the_error_of_a_prediction_grows_with_its_length_and_has_a_best_memory() -> None:
    noise = two_state_noise(Clock(name="x", kind=ClockKind.MASER))
    by_tau = [noise.prediction_variance(tau, memory_s=86_400.0) for tau in (600.0, 3_600.0, 86_400.0, 864_000.0)]
    assert by_tau == sorted(by_tau)
    by_memory = [noise.prediction_variance(86_400.0, memory_s=m) for m in (1e2, 1e5, 1e12)]
    assert by_memory[1] < min(by_memory[0], by_memory[2]), "too short: white FM; too long: the walk"


def test_atomic_kinds_are_those_an_atomic_transition_holds() -> None:
    atomic = {kind for kind in ClockKind if kind.is_atomic}
    assert atomic == {ClockKind.MASER, ClockKind.CAESIUM, ClockKind.RUBIDIUM, ClockKind.FOUNTAIN}
