"""What `/metrics` states is what the status document and the doors' counters hold, no more and no less."""

import copy
import json
import math
import re
import time
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString
from tests.control.fake_laboratory import STATUS, a_clock, a_source, host_label, time_keys

from truechimer.compare.selection import Verdict
from truechimer.console.metric_samples import MOST_LABEL_LETTERS, Document
from truechimer.console.metrics import SETS, Format, MetricNames, registry, written
from truechimer.daemon.door.counters import ANSWERED_EDGES_NS, ANSWERED_WITHIN, NAMES, PROBE_BARRED, Barred
from truechimer.daemon.sources.feeds import LEAP_WORDS
from truechimer.serve.clock_page import ServiceState

DOOR = "127.0.0.1:11123"
COUNTERS = {name: 10 + index for index, name in enumerate(NAMES)} | {PROBE_BARRED: 0}

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def full_status() -> dict[str, Any]:
    """Return a document that holds everything that a metric is made from."""
    document: dict[str, Any] = copy.deepcopy(STATUS) | time_keys(host_label())
    document["clocks"][0]["residual_s"] = 4e-12
    document["sources"][1] |= {"delay_s": 2.2e-4, "answers": 17, "failures": 2, "reach": 0b10110111}
    document["sources"][1]["leap"] = "insert"
    document["listeners"][0]["alive"] = True
    counts = {"answered": 70, "rate_dropped": 3, "passed_interleaved": 2}
    document["listeners"][0]["accelerator"] = {"attached": True, "answering": True, "counters": counts}
    sock = {"now": "sending", "sent": 40, "refused": {"not-there": 2}, "silent": {"holdover": 3}}
    document["listeners"].append({"protocol": "chrony-sock", "path": "run/sock", "alive": False, "sock": sock})
    return document | {
        "observing": False,
        "published": {
            "paths": [{"path": "UTCr", "x_utc_minus_utck_s": 1.5e-9, "age_s": 400_000.0}],
            "held": [{"path": "UTCr", "values": 2}],
            "refused": [{"path": "UTC", "off_s": 4e-8}],
            "forecast": {"x_utc_minus_utck_s": -2e-10, "u_s": 8e-10},
        },
        "holdover_remaining_s": 7200.0,
        "holdover": {"learned_days": 9, "prediction": [{"horizon_s": 86400.0, "u_s": 2e-9}], "kept": []},
        "ntp": {"stratum": 1, "refid": "53494D00", "root_delay_s": 0.0},
        "receivers": [
            {"name": "rx1", "link": "UTC.gnss", "level": "refused", "epochs": 7, "age_s": 4.5, "antenna": "surveyed"}
            | {"reasons": [{"reason": "utc-parameters", "level": "refused"}]}
        ],
        "host_clock": {"x_host_clock_minus_utc_s": 2e-4, "bound_s": 5e-5, "rate": -3e-7, "steps": 2},
        "deviations": {
            "estimator": "oadev",
            "scale": {"tau_s": [10.0, 20.0], "value": [1.1e-13, 7e-14]},
            "clocks": [{"name": "maser1", "tau_s": [10.0, 20.0, 40.0], "value": [2e-13, None, 8e-14]}],
        },
        "store": {"state": "failing", "waiting": 12},
        "evidence": {
            "state": "published",
            "size": 40,
            "waiting": 2,
            "unwitnessed_since": "2026-11-22T00:00:00Z",
            "witnessed": {"size": 30},
            "witnesses": [{"name": "w1", "state": "good"}, {"name": "w2", "state": "away"}],
        },
        "firing": {
            "conditions": [
                {"alert": "clock-step", "severity": "critical", "subjects": ["caesium2"]},
                {"alert": "closure", "severity": "warning", "subjects": []},
            ]
        },
        "notify": {
            "said": [{"alert": "clock-step", "severity": "warning", "count": 3}],
            "log": {"journal": {"written": 9, "failed": 1}, "stderr": {"written": 0, "failed": 2}},
            "webhook": {"delivered": 5, "refused": 1, "dropped": 2, "failures": 4, "waiting": 3},
        },
    }


def series(document: Document | None, doors: Any = None, wanted: MetricNames = MetricNames.ALL) -> Series:
    """Return every sample of the text format, by name and labels."""
    text = written(registry(document, doors or {}, wanted), Format.TEXT).decode()
    found: Series = {}
    for family in parse_text(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Series, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_every_metric_has_a_value_somewhere_and_none_has_no_row() -> None:
    found = {
        re.sub("(?<=_seconds)_(bucket|count|sum)$", "", name) for name, _ in series(full_status(), {DOOR: COUNTERS})
    }
    assert found == {family.name for chosen in SETS.values() for family in chosen}


def test_the_values_are_those_of_the_status_document() -> None:
    document = full_status()
    found = series(document, {DOOR: COUNTERS})
    terms, steering, leap = document["terms"], document["steering"], document["leap"]
    expected = {
        ("truechimer_up",): 1.0,
        ("truechimer_synchronised",): 1.0,
        ("truechimer_observing",): 0.0,
        ("truechimer_scale_error_bound_seconds",): document["bound_s"],
        ("truechimer_scale_uncertainty_seconds",): document["u_s"],
        ("truechimer_scale_coverage_ratio",): document["coverage"],
        ("truechimer_scale_offset_uncertainty_seconds",): document["utc_minus_scale"]["u_s"],
        ("truechimer_scale_offset_limit_seconds",): document["utc_minus_scale"]["limit_s"],
        ("truechimer_bound_growth_ratio",): document["bound_growth"],
        ("truechimer_scale_steer_ratio",): steering["y_steer"],
        ("truechimer_steer_limit_ratio",): steering["per_change"],
        ("truechimer_envelope_expiry_timestamp_seconds",): 4_075_228_800.0,  # 2099-02-20
        ("truechimer_insecure_software_keys",): 1.0,
        ("truechimer_orders_applied",): 1.0,
        ("truechimer_policy_change_waits",): 0.0,
        ("truechimer_leap_table_expiry_timestamp_seconds",): 4_086_288_000.0,  # 2099-06-28
        ("truechimer_leap_tai_minus_utc_seconds",): leap["tai_minus_utc_s"],
        ("truechimer_holdover_remaining_seconds", "limit=0.001"): document["holdover_remaining_s"],
        ("truechimer_holdover_sigma_seconds", "horizon=86400"): 2e-9,
        ("truechimer_evidence_records_total",): document["records"],
        ("truechimer_epochs_total",): document["epochs"],
        ("truechimer_readings_rejected_total",): 0.0,
        ("truechimer_uptime_seconds",): document["uptime_s"],
        ("truechimer_host_clock_offset_seconds",): 2e-4,
        ("truechimer_host_clock_error_bound_seconds",): 5e-5,
        ("truechimer_host_clock_rate_ratio",): -3e-7,
        ("truechimer_host_clock_steps_total",): 2.0,
        ("truechimer_deviation_ratio", "estimator=oadev", "tau=10", "of=scale"): 1.1e-13,
        ("truechimer_deviation_ratio", "estimator=oadev", "tau=40", "of=maser1"): 8e-14,
        ("truechimer_door_up", "proto=chrony-sock", "listener=run/sock"): 0.0,
        ("truechimer_sock_samples_total", "result=sent", "listener=run/sock"): 40.0,
        ("truechimer_sock_samples_total", "result=refused-not-there", "listener=run/sock"): 2.0,
        ("truechimer_sock_samples_total", "result=silent-holdover", "listener=run/sock"): 3.0,
        ("truechimer_store_state", "state=failing"): 1.0,
        ("truechimer_store_state", "state=written"): 0.0,
        ("truechimer_store_waiting_records",): 12.0,
        ("truechimer_log_state", "state=published"): 1.0,
        ("truechimer_log_state", "state=contradicted"): 0.0,
        ("truechimer_log_entries",): 40.0,
        ("truechimer_log_waiting_records",): 2.0,
        ("truechimer_log_witnessed_entries",): 30.0,
        ("truechimer_log_unwitnessed",): 1.0,
        ("truechimer_log_witness_good", "witness=w1"): 1.0,
        ("truechimer_log_witness_good", "witness=w2"): 0.0,
        ("truechimer_alert_firing", "kind=clock-step", "severity=critical"): 1.0,
        ("truechimer_alert_firing", "kind=closure", "severity=warning"): 0.0,
        ("truechimer_alerts_said_total", "kind=clock-step", "severity=warning"): 3.0,
        ("truechimer_log_lines_lost_total", "way=journal"): 1.0,
        ("truechimer_log_lines_lost_total", "way=stderr"): 2.0,
        ("truechimer_webhook_messages_total", "result=delivered"): 5.0,
        ("truechimer_webhook_messages_total", "result=dropped"): 2.0,
        ("truechimer_webhook_failures_total",): 4.0,
        ("truechimer_webhook_waiting_messages",): 3.0,
        ("truechimer_door_up", "proto=ntp", f"listener={DOOR}"): 1.0,
        ("truechimer_door_bound_limit_seconds", "proto=ntp", f"listener={DOOR}"): 1e-3,
        ("truechimer_clock_residual_seconds", "clock=maser1"): 4e-12,
        ("truechimer_clock_included", "clock=caesium2", "reason=out-step"): 0.0,
        ("truechimer_clock_included", "clock=maser1", "reason=in"): 1.0,
        ("truechimer_source_reach_ratio", "source=UTC.p2"): 6 / 8,
        ("truechimer_source_delay_seconds", "source=UTC.p2"): 2.2e-4,
        ("truechimer_source_answers_total", "source=UTC.p2"): 17.0,
        ("truechimer_source_failures_total", "source=UTC.p2"): 2.0,
    }
    for name, term in terms.items():
        expected["truechimer_bound_term_seconds", f"term={name.removesuffix('_s')}"] = term
    for row in document["clocks"]:
        place = f"clock={row['name']}"
        expected["truechimer_clock_weight_ratio", place] = row["weight"]
        expected["truechimer_clock_offset_seconds", place] = row["x_clock_minus_scale_s"]
        expected["truechimer_clock_rate_ratio", place] = row["rate"]
    for row in document["sources"][:3]:
        place = f"source={row['name']}"
        expected["truechimer_source_offset_seconds", place] = row["offset_s"]
        expected["truechimer_source_uncertainty_seconds", place] = row["u_s"]
        expected["truechimer_source_error_bound_seconds", place] = 6.0 * row["u_s"] + row["limit_s"]
        expected["truechimer_source_age_seconds", place] = row["age_s"]
        expected["truechimer_source_stratum", place] = row["stratum"]
        expected["truechimer_source_poll_seconds", place] = row["poll_s"]
    got = {key: found[key[0], frozenset(tuple(word.split("=", 1)) for word in key[1:])] for key in expected}  # type: ignore[misc]
    assert got == expected


def test_a_door_whose_own_client_may_not_ask_says_why_and_gives_no_old_figure() -> None:
    asks = series(full_status(), {DOOR: COUNTERS})
    assert value(asks, "truechimer_serve_probe_asks", listener=DOOR, reason="none") == 1.0
    error = ("truechimer_serve_error_seconds", frozenset({"listener": DOOR}.items()))
    assert error in asks
    for barred, reason in ((Barred.DENIED, "denied"), (Barred.RATE, "rate")):
        found = series(full_status(), {DOOR: COUNTERS | {PROBE_BARRED: int(barred)}})
        assert value(found, "truechimer_serve_probe_asks", listener=DOOR, reason=reason) == 0.0
        assert error not in found


def test_a_deviation_without_a_value_is_no_sample() -> None:
    taus = {dict(labels)["tau"] for name, labels in series(full_status()) if name == "truechimer_deviation_ratio"}
    assert taus == {"10", "20", "40"}
    assert (
        "truechimer_deviation_ratio",
        frozenset({"estimator": "oadev", "tau": "20", "of": "maser1"}.items()),
    ) not in (series(full_status()))


def test_a_state_is_one_hot_over_all_words() -> None:
    for state in ServiceState:
        found = series(full_status() | {"state": state.value})
        words = {word.value: value(found, "truechimer_scale_state", state=word.value) for word in ServiceState}
        assert words == {word.value: float(word is state) for word in ServiceState}
    row = series(full_status())
    assert [value(row, "truechimer_source_verdict", source="UTC.p3", verdict=each.value) for each in Verdict] == [
        0.0, 1.0, 0.0, 0.0, 0.0, 0.0,
    ]  # fmt: skip


def test_our_scale_ahead_of_utc_is_positive_and_a_source_ahead_of_us_is_positive() -> None:
    document = full_status()
    document["utc_minus_scale"]["x_s"] = 3e-9  # UTC is ahead of the free scale by 3 ns
    document["steering"]["x_utck_minus_scale_s"] = 5e-9  # and UTC(k) by 5 ns: 2 ns ahead of UTC
    found = series(document)
    assert value(found, "truechimer_scale_offset_seconds", against="simulated-utc", kind="free") == -3e-9
    steered = value(found, "truechimer_scale_offset_seconds", against="simulated-utc", kind="steered")
    assert steered == pytest.approx(2e-9)
    assert value(found, "chrony_tracking_last_offset_seconds") == steered
    ours = value(found, "truechimer_source_offset_seconds", source="UTC.p3")
    theirs = value(found, "chrony_sources_last_sample_offset_seconds", source_address="UTC.p3", source_name="UTC.p3")
    assert (ours, theirs) == (3.1e-4, -3.1e-4)


def test_the_compatibility_set_means_what_the_exporter_means() -> None:
    document = full_status()
    document["utc_minus_scale"]["y"] = 2e-7
    found = series(document)
    # the oscillator gains 1.2e-6 on the scale, UTC gains 2e-7 on it: the oscillator is fast by 1 ppm
    assert value(found, "chrony_tracking_frequency_ppms") == pytest.approx(1.0)
    assert value(found, "chrony_tracking_skew_ppms") == document["bound_growth"] * 1e6
    assert value(found, "chrony_tracking_root_dispersion_seconds") == document["bound_s"] + 1.0
    assert value(found, "chrony_tracking_system_time_seconds") == -2e-4  # the wall clock is ahead: it is not slow
    assert value(found, "chrony_tracking_stratum") == 1.0
    info = {"tracking_address": "demo", "tracking_name": "SIM(demo)", "tracking_refid": "53494D00"}
    assert value(found, "chrony_tracking_info", **info) == 1.0
    states = {
        dict(labels)["source_name"]: (dict(labels)["source_state"], dict(labels)["source_mode"])
        for name, labels in found
        if name == "chrony_sources_state_info"
    }
    assert states == {
        "UTC.p1": ("sync", "reference clock"),
        "UTC.p2": ("candidate", "client"),
        "UTC.p3": ("falseticker", "client"),
        "UTC.p4": ("unreach", "client"),
    }
    source = {"source_address": "UTC.p2", "source_name": "UTC.p2"}
    assert value(found, "chrony_sources_reachability_ratio", **source) == 6 / 8
    assert value(found, "chrony_sources_reachability_success", **source) == 1.0


def test_each_datagram_of_a_door_is_counted_once_under_its_end() -> None:
    found = series(full_status(), {DOOR: COUNTERS})
    ends = {
        dict(labels)["result"]: count for (name, labels), count in found.items()
        if name == "truechimer_serve_requests_total"
    }  # fmt: skip
    kept = {name: count for name, count in COUNTERS.items() if name.startswith(("replies_", "ignored_"))}
    kept |= {name: COUNTERS[name] for name in ("send_failed", "datagram_faults")}
    assert sorted(ends.values()) == sorted(map(float, kept.values()))
    assert ends["synchronised"] == COUNTERS["replies_synchronised"]
    assert ends["ignored-mode-control"] == COUNTERS["ignored_mode_control"]
    valid = sum(count for name, count in COUNTERS.items() if name.startswith("replies_") or name == "send_failed")
    assert value(found, "chrony_serverstats_ntp_packets_received_total", listener=DOOR) == valid
    assert not any("_ns" in name or "larg" in name for name, _ in found)  # figures are no counters


def test_a_silent_laboratory_has_no_value_of_its_own() -> None:
    found = series(None, {DOOR: COUNTERS})
    own = {name for name, _ in found if not name.startswith(("truechimer_serve_", "chrony_serverstats_"))}
    assert own == {"truechimer_up", "chrony_up"}
    assert value(found, "truechimer_up") == value(found, "chrony_up") == 0.0


def test_what_is_unknown_is_absent() -> None:
    document = {"state": "freerun", "synchronised": False, "against": "utc", "lab": "x", "steering": {}, "clocks": []}
    found = series(document)
    names = {name for name, _ in found}
    assert names == {
        "truechimer_up", "chrony_up", "truechimer_info", "truechimer_scale_state", "truechimer_synchronised",
    }  # fmt: skip
    assert value(found, "truechimer_synchronised") == 0.0


def test_the_compatibility_set_can_be_left_out() -> None:
    every, own = series(full_status(), {DOOR: COUNTERS}), series(full_status(), {DOOR: COUNTERS}, MetricNames.OWN)
    assert own == {key: found for key, found in every.items() if not key[0].startswith("chrony_")}
    assert len(own) < len(every)


def test_no_value_is_infinite_or_no_number_whatever_the_document_says() -> None:
    document = full_status() | {"bound_s": math.inf, "u_s": math.nan, "records": "many", "epochs": True}
    document["clocks"][0] |= {"weight": None, "rate": "fast", "x_clock_minus_scale_s": -math.inf}
    names = {name for name, _ in series(document)}
    assert not names & {
        "truechimer_scale_error_bound_seconds", "truechimer_scale_uncertainty_seconds", "truechimer_epochs_total",
        "truechimer_evidence_records_total",
    }  # fmt: skip
    assert all(map(math.isfinite, series(document).values()))


@pytest.mark.parametrize("name", ['"} 1\nevil_total 1', "a\\b", "x" * 5000, "\ud800", "é\u202e", "", "a\r\nb"])
def test_a_hostile_name_stays_a_label(name: str) -> None:
    document = full_status()
    document["clocks"] = [a_clock(name), a_clock("maser1")]
    document["sources"] = [a_source(name, operator=name)]
    document |= {"lab": name}
    found = series(document)
    known = {family.name for chosen in SETS.values() for family in chosen}
    assert {each for each, _ in found} <= known
    assert all(len(word) <= MOST_LABEL_LETTERS for _, labels in found for _, word in labels)
    assert value(found, "truechimer_clock_weight_ratio", clock="maser1") == 0.2
    list(parse_openmetrics(written(registry(document, {}, MetricNames.ALL), Format.OPEN_METRICS).decode()))


def test_two_rows_of_one_name_are_one_series() -> None:
    document = full_status()
    document["clocks"] = [a_clock("same", 0.4), a_clock("same", 0.6)]
    assert value(series(document), "truechimer_clock_weight_ratio", clock="same") == 0.4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
@settings(max_examples=40)
def test_a_document_of_another_shape_costs_values_and_never_the_page(data: st.DataObject) -> None:
    document = full_status()
    for key in data.draw(st.lists(st.sampled_from(sorted(document)), min_size=1, max_size=6, unique=True)):
        inner = document[key]
        broken = data.draw(JSON)
        if isinstance(inner, list) and inner and isinstance(inner[0], dict) and data.draw(st.booleans()):
            inner[0][data.draw(st.sampled_from(sorted(inner[0])))] = broken
        elif isinstance(inner, dict) and inner and data.draw(st.booleans()):
            inner[data.draw(st.sampled_from(sorted(inner)))] = broken
        else:
            document[key] = broken
    assert value(series(document, {DOOR: COUNTERS}), "truechimer_up") == 1.0


def test_both_formats_hold_the_same_series() -> None:
    found = registry(full_status(), {DOOR: COUNTERS}, MetricNames.ALL)
    open_metrics = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_openmetrics(written(found, Format.OPEN_METRICS).decode())
        for sample in family.samples
    }
    assert open_metrics == series(full_status(), {DOOR: COUNTERS})


def many_clocks(count: int) -> Iterator[dict[str, Any]]:
    return (a_clock(f"clock{index:04d}", 1.0 / count, residual_s=1e-12) for index in range(count))


def test_five_hundred_clocks_are_written_within_a_quarter_of_a_second() -> None:
    document = full_status() | {
        "clocks": list(many_clocks(500)),
        "sources": [a_source(f"UTC.s{index}") for index in range(100)],
    }
    json.loads(json.dumps(document))  # it is a document that could have come
    spent = []
    for _ in range(5):
        begun = time.process_time()
        written(registry(document, {DOOR: COUNTERS}, MetricNames.ALL), Format.TEXT)
        spent.append(time.process_time() - begun)
    assert sorted(spent)[2] < 0.25, spent


def test_the_time_that_answers_took_is_a_histogram_that_grows_over_its_edges() -> None:
    found = series(full_status(), {DOOR: COUNTERS})
    counts = [COUNTERS[name] for name in ANSWERED_WITHIN]
    for place, edge_ns in enumerate(ANSWERED_EDGES_NS):
        held = value(
            found, "truechimer_serve_seconds_bucket", proto="ntp", listener=DOOR, le=floatToGoString(edge_ns / 1e9)
        )
        assert held == sum(counts[: place + 1])
    labels = {"proto": "ntp", "listener": DOOR}
    assert value(found, "truechimer_serve_seconds_bucket", le="+Inf", **labels) == sum(counts)
    assert value(found, "truechimer_serve_seconds_count", **labels) == sum(counts)
    assert value(found, "truechimer_serve_seconds_sum", **labels) == COUNTERS["answered_after_sum_ns"] / 1e9


def test_a_histogram_that_lacks_a_part_is_not_served() -> None:
    for missing in ("answered_later", "answered_after_sum_ns"):
        counts = {name: count for name, count in COUNTERS.items() if name != missing}
        assert not [name for name, _ in series(full_status(), {DOOR: counts}) if "serve_seconds" in name]


def test_leap_votes_are_counted_by_what_sources_announce() -> None:
    document = full_status()
    document["sources"][0]["leap"] = "normal"
    found = series(document)
    votes = {word: value(found, "truechimer_leap_votes", value=word) for word in LEAP_WORDS}
    assert votes == {"normal": 1.0, "insert": 1.0, "delete": 0.0, "unsynchronised": 0.0}
    for row in document["sources"]:
        row.pop("leap", None)
    assert not [name for name, _ in series(document) if "leap_votes" in name]
