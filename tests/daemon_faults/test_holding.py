"""A held page is the recorded one, less sure: never surer, and around all that is known."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.serve.pages import ANCHOR_RAW_NS, a_page

from truechimer.daemon.holding import held
from truechimer.serve import ClockPage, ServiceState
from truechimer.serve.served_time import bound_at, tai_fs_at

NS = 10**9
RECORDED = a_page()
PRESENT = st.builds(
    lambda off_fs, rate, bound_s, growth, age_s, state: replace(
        RECORDED,
        anchor_raw_ns=RECORDED.anchor_raw_ns + age_s * NS,
        anchor_tai_fs=tai_fs_at(RECORDED, RECORDED.anchor_raw_ns + age_s * NS) + off_fs,
        rate=RECORDED.rate + rate,
        bound_s=bound_s,
        bound_growth=growth,
        state=state,
    ),
    off_fs=st.integers(-(10**13), 10**13),
    rate=st.floats(-1e-5, 1e-5),
    bound_s=st.floats(0.0, 1e-2),
    growth=st.floats(1e-8, 1e-4),
    age_s=st.integers(0, 100_000),
    state=st.sampled_from(ServiceState),
)


@given(present=PRESENT, later_s=st.integers(0, 1_000), service=st.none() | st.sampled_from(ServiceState))
def test_a_held_page_reaches_around_what_the_laboratory_knows_now_and_for_as_long_as_it_is_read(
    present: ClockPage, later_s: int, service: ServiceState | None
) -> None:
    raw_ns = present.anchor_raw_ns + NS
    page = held(RECORDED, present=present, service=service, raw_ns=raw_ns)
    for at_ns in (raw_ns, raw_ns + later_s * NS):
        apart_s = abs(tai_fs_at(page, at_ns) - tai_fs_at(present, at_ns)) / 1e15
        assert bound_at(page, at_ns) >= (apart_s + bound_at(present, at_ns)) * (1.0 - 1e-9)
        assert bound_at(page, at_ns) >= bound_at(RECORDED, at_ns)
    assert (page.anchor_raw_ns, page.anchor_tai_fs, page.rate) == (ANCHOR_RAW_NS, RECORDED.anchor_tai_fs, RECORDED.rate)
    assert page.u_s >= RECORDED.u_s


@given(recorded=st.sampled_from(ServiceState), service=st.none() | st.sampled_from(ServiceState))
def test_a_held_page_is_never_steered_and_its_state_never_better_than_either(
    recorded: ServiceState, service: ServiceState | None
) -> None:
    page = held(replace(RECORDED, state=recorded), present=None, service=service, raw_ns=ANCHOR_RAW_NS)
    unsynchronised = {ServiceState.ACQUIRING, ServiceState.FREERUN, ServiceState.ALARM}
    assert page.state is not ServiceState.STEERED
    assert (page.state in unsynchronised) is bool(unsynchronised & {recorded, service})


def test_without_news_a_held_page_only_loses_its_state() -> None:
    assert held(RECORDED, present=None, service=None, raw_ns=ANCHOR_RAW_NS + 500 * NS) == replace(
        RECORDED, state=ServiceState.HOLDOVER
    )
