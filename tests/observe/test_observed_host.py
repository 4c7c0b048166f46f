"""The host's own clock against UTC as stated: off is said when it is certain, and not before; so is its return."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.laboratory import rigs
from tests.serve.pages import a_page

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon.answering import firing
from truechimer.daemon.host_clocks import HostClocks, HostStep
from truechimer.daemon.observed_host import LOOKS_TO_SAY, ObservedHost
from truechimer.instants import Instant, builtin_leap_table
from truechimer.instants.unix import to_unix_ns
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.serve.served_time import tai_fs_at

NS = 10**9
MS = NS // 1000
LEAPS = builtin_leap_table()


class Host:
    """A machine whose clock is off by `off_ns`; `page` is what the laboratory states; time passes by `pass_s`."""

    def __init__(
        self,
        page: ClockPage,
        *,
        limit_s: float = 0.001,
        freerun_allowed: bool = False,
        realtime_ns: Callable[[], int] | None = None,
    ) -> None:
        self.page: ClockPage | None = page
        self.stated = page
        self.raw_ns = page.anchor_raw_ns
        self.off_ns = 0
        clocks = HostClocks(
            raw_ns=lambda: self.raw_ns,
            realtime_ns=realtime_ns or self.realtime_ns,
            suspended_ns=lambda: 0,
            boot_text=lambda: b"boot",
        )
        self.observed = ObservedHost(
            LEAPS, limit_s=limit_s, label_tai_ns=lambda raw_ns: raw_ns, freerun_allowed=freerun_allowed, clocks=clocks
        )

    def realtime_ns(self) -> int:
        return to_unix_ns(Instant(tai_fs_at(self.stated, self.raw_ns)), LEAPS, beyond_expiry="flag") + self.off_ns

    def pass_s(self, seconds: int, *, steps: tuple[HostStep, ...] = ()) -> list[Alert]:
        said: list[Alert] = []
        for _ in range(seconds):
            self.raw_ns += NS
            said += self.observed.look(self.page, steps)
            steps = ()
        return said


@pytest.fixture
def host() -> Host:
    return Host(a_page(bound_s=2e-4, rate=0.0))


def test_a_clock_that_is_right_is_shown_and_not_said(host: Host) -> None:
    assert host.pass_s(30) == []
    shown = host.observed.document()
    assert shown["x_host_clock_minus_utc_s"] == pytest.approx(0.0, abs=1e-9)
    assert shown["bound_s"] >= 2e-4
    assert shown["rate"] == pytest.approx(0.0, abs=1e-10)
    assert not shown["is_off"]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clock_that_is_off_is_said_once_and_so_is_its_return(host: Host, sign: int) -> None:
    host.pass_s(3)
    host.off_ns = sign * 50 * MS
    (said,) = host.pass_s(60)
    assert said.kind is AlertKind.BOUND_EXCEEDED
    assert (said.component, said.subject, said.severity) == ("daemon", "host-clock", AlertSeverity.WARNING)
    assert f"{sign * 0.05:+.6f} s" in said.says
    assert host.observed.document()["is_off"]
    host.off_ns = 0
    (said,) = host.pass_s(60)
    assert (said.kind, said.subject, said.severity) == (AlertKind.CLOCK_RETURNED, "host-clock", AlertSeverity.NOTICE)
    assert not host.observed.document()["is_off"]


def test_what_the_bound_may_explain_is_not_said() -> None:
    host = Host(a_page(bound_s=0.05, rate=0.0))
    host.off_ns = 50 * MS
    assert host.pass_s(60) == []
    host.off_ns = 52 * MS
    assert [alert.kind for alert in host.pass_s(60)] == [AlertKind.BOUND_EXCEEDED]


@pytest.mark.parametrize("looks", [1, LOOKS_TO_SAY - 1])
def test_a_moment_is_no_clock_that_is_off(host: Host, looks: int) -> None:
    """A leap second that the host makes elsewhere, or one bad pair."""
    host.off_ns = NS
    said = host.pass_s(looks)
    host.off_ns = 0
    assert said + host.pass_s(30) == []


def test_the_limit_is_the_laboratorys_own() -> None:
    for limit_s, expected in ((1.0, 0), (0.01, 1)):
        host = Host(a_page(bound_s=2e-4), limit_s=limit_s)
        host.off_ns = 50 * MS
        assert len(host.pass_s(20)) == expected


def test_where_no_time_is_stated_nothing_is_compared_and_nothing_said(host: Host) -> None:
    host.off_ns = 50 * MS
    assert len(host.pass_s(20)) == 1
    host.page = None
    assert host.pass_s(20) == []
    shown = host.observed.document()
    assert "x_host_clock_minus_utc_s" not in shown
    assert shown["is_off"], "nothing says that it came back"
    host.page = host.stated
    assert host.pass_s(20) == [], "it was said already"


@pytest.mark.parametrize(("state", "freerun_allowed", "compared"), [
    (ServiceState.STEERED, False, True),
    (ServiceState.HOLDOVER, False, True),
    (ServiceState.FREERUN, False, False),
    (ServiceState.FREERUN, True, True),
    (ServiceState.ALARM, True, False),
])  # fmt: skip
def test_only_a_time_that_is_stated_is_compared_with(
    state: ServiceState, freerun_allowed: bool, compared: bool
) -> None:
    host = Host(a_page(state=state), freerun_allowed=freerun_allowed)
    host.pass_s(2)
    assert ("x_host_clock_minus_utc_s" in host.observed.document()) is compared


def test_its_rate_is_learned_and_begins_anew_after_a_step(host: Host) -> None:
    for _ in range(40):
        host.off_ns += 20_000
        host.pass_s(1)
    shown = host.observed.document()
    assert shown["rate"] == pytest.approx(2e-5, rel=1e-3)
    host.off_ns += 300 * MS
    host.pass_s(1, steps=(HostStep(host.raw_ns, 0.3),))
    shown = host.observed.document()
    assert "rate" not in shown
    assert (shown["steps"], shown["last_step_s"]) == (1, 0.3)
    for _ in range(20):
        host.off_ns += 20_000
        host.pass_s(1)
    assert host.observed.document()["rate"] == pytest.approx(2e-5, rel=1e-3)


def test_it_looks_once_a_second_however_often_it_is_asked(host: Host) -> None:
    host.off_ns = 50 * MS
    said: list[Alert] = []
    for _ in range(40):
        host.raw_ns += NS // 10
        said += host.observed.look(host.page)
    assert said == [], "four seconds are not five looks"


@given(off_ns=st.integers(-(10**18), 10**18), bound_s=st.floats(0.0, 1e6), limit_s=st.floats(1e-9, 1e9))
def test_off_is_said_exactly_where_no_truth_inside_the_bound_excuses_it(
    off_ns: int, bound_s: float, limit_s: float
) -> None:
    host = Host(a_page(bound_s=bound_s, rate=0.0), limit_s=limit_s)
    host.off_ns = off_ns
    said = host.pass_s(LOOKS_TO_SAY + 1)
    excess_s = abs(off_ns) / NS - bound_s - limit_s
    if abs(excess_s) > 1e-6 * max(1.0, bound_s, limit_s):  # the bound grows by 1e-8 s/s
        assert bool(said) is (excess_s > 0.0)


def test_an_inserted_second_is_no_error_of_a_clock_that_repeats_the_one_before() -> None:
    """The last known one, at the end of 2016: Linux shows 23:59:59 twice."""
    leap_tai_s = LEAPS.start_of(LEAPS.entries[-1]).tai_fs // 10**15
    page = a_page(
        bound_s=1e-6,
        rate=0.0,
        anchor_tai_fs=(leap_tai_s - 10) * 10**15,
        tai_minus_utc_s=36,
        next_leap_tai_s=leap_tai_s,
        next_tai_minus_utc_s=37,
    )

    def linux_ns() -> int:
        """What the kernel shows: 36 s behind TAI, and 37 s from the beginning of 23:59:60 on."""
        tai_ns = tai_fs_at(host.stated, host.raw_ns) // 10**6
        return tai_ns - (36 if tai_ns < (leap_tai_s - 1) * NS else 37) * NS

    host = Host(page, realtime_ns=linux_ns)
    shown = []
    for _ in range(20):
        assert host.pass_s(1) == []
        assert abs(host.observed.document()["x_host_clock_minus_utc_s"]) < 1e-6
        shown.append(linux_ns() // NS)
    assert len(set(shown)) == len(shown) - 1, "one second was shown twice"


def test_a_clock_that_is_off_is_a_condition_that_holds(host: Host) -> None:
    state = rigs.steered().state

    def held() -> list[str]:
        (row,) = [
            row for row in firing.document(state, host.observed)["conditions"] if row["alert"] == "bound-exceeded"
        ]
        return [str(subject) for subject in row["subjects"]]

    assert held() == []
    host.off_ns = 50 * MS
    host.pass_s(20)
    assert held() == ["host-clock"]
    host.off_ns = 0
    host.pass_s(20)
    assert held() == []
