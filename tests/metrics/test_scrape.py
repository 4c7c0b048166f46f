"""`/metrics` as a scraper sees it: formats, silence, restarts of doors, and what promtool says."""

import http.client
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.console.consoles import PATIENCE_S, Console, a_console
from tests.control.fake_laboratory import FakeLaboratory
from tests.metrics.test_values import COUNTERS, DOOR, full_status
from tests.waits import until

from truechimer.console.metrics import SETS, Format, MetricNames, registry, written
from truechimer.daemon.door.counters import Counters, door_name

ROOT = Path(__file__).resolve().parents[2]
REPLIES = "replies_synchronised"


def scrape(console: Console) -> dict[str, float]:
    """Return all samples by `name{labels}`."""
    with console.get("/metrics") as response:
        assert response.status == 200
        text = response.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={word}" for key, word in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeLaboratory]:
    with FakeLaboratory(tmp_path_factory.mktemp("metrics") / "lab") as running:
        yield running


@pytest.fixture(scope="module")
def console(lab: FakeLaboratory) -> Iterator[Console]:
    with a_console(lab.folder) as running:
        until(lambda: running.get("/healthz").status == 200)
        yield running


def synchronised(door: float) -> str:
    return f"truechimer_serve_requests_total{{listener=127.0.0.1:{door},proto=ntp,result=synchronised}}"


def test_the_format_is_the_one_that_is_asked_for(console: Console) -> None:
    open_metrics = "application/openmetrics-text"
    for accept, expected in (
        ("", "text/plain"),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        (f"{open_metrics};version=1.0.0,{open_metrics};version=0.0.1;q=0.75,*/*;q=0.1", open_metrics),
        (f"{open_metrics};version=x;escaping=values", open_metrics),
        ("\u00ff;;;,,,=", "text/plain"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=PATIENCE_S)
        connection.request("GET", "/metrics", headers={"Accept": accept, "Connection": "close"})
        with connection.getresponse() as response:
            body = response.read()
            assert response.headers["content-type"].startswith(expected)
            assert body.endswith(b"# EOF\n") is (expected != "text/plain")
            assert response.headers["content-security-policy"]


def test_nothing_but_reading_is_possible_and_no_name_of_elsewhere_reads(console: Console) -> None:
    for method in ("POST", "PUT", "DELETE"):
        with console.get("/metrics", method=method) as response:
            assert response.status == 405
    with console.get("/metrics", host="metrics.example") as response:
        assert response.status == 421


def test_scrapes_cost_the_laboratory_no_question(console: Console, lab: FakeLaboratory) -> None:
    before, begun = len(lab.asked), time.monotonic()
    for _ in range(30):
        scrape(console)
    assert len(lab.asked) - before <= 1 + (time.monotonic() - begun) / 0.9


@pytest.mark.slow
def test_a_door_that_starts_anew_is_an_ordinary_reset_and_its_neighbour_counts_on(tmp_path: Path) -> None:
    with FakeLaboratory(tmp_path / "lab") as lab, a_console(lab.folder) as console:
        row = lab.status["listeners"][0]
        lab.status["listeners"] = [row, row | {"port": 11999}]
        first, second = (Counters(lab.folder / "run" / f"ntp-{port}.counters") for port in (11123, 11999))
        first.add(REPLIES, 40)
        second.add(REPLIES, 7)
        for counters in (first, second):
            counters.flush()
        until(lambda: scrape(console).get(synchronised(11999)) == 7.0)
        assert scrape(console)[synchronised(11123)] == 40.0
        first.close()
        anew = Counters(lab.folder / "run" / "ntp-11123.counters")  # what a door does that is opened again
        until(lambda: scrape(console).get(synchronised(11123)) == 0.0)
        anew.add(REPLIES, 2)
        anew.flush()
        until(lambda: scrape(console).get(synchronised(11123)) == 2.0)
        assert scrape(console)[synchronised(11999)] == 7.0
        anew.close()
        second.close()


@pytest.mark.slow
def test_a_silent_laboratory_leaves_no_stale_value_while_its_doors_count_on(tmp_path: Path) -> None:
    with FakeLaboratory(tmp_path / "lab") as lab, a_console(lab.folder) as console:
        door = Counters(lab.folder / "run" / "ntp-11123.counters")
        until(lambda: scrape(console).get("truechimer_up{}") == 1.0)
        assert "truechimer_scale_error_bound_seconds{}" in scrape(console)
        lab.socket.close()
        until(lambda: scrape(console)["truechimer_up{}"] == 0.0)
        door.add(REPLIES, 5)
        door.flush()
        until(lambda: scrape(console).get(synchronised(11123)) == 5.0)
        left = {name.split("{")[0] for name in scrape(console)}
        assert {name for name in left if not name.startswith(("truechimer_serve_", "chrony_serverstats_"))} == {
            "truechimer_up",
            "chrony_up",
        }
        door.close()


@pytest.mark.slow
def test_a_counter_file_that_is_no_counter_file_costs_its_own_values_only(tmp_path: Path) -> None:
    with FakeLaboratory(tmp_path / "lab") as lab, a_console(lab.folder) as console:
        (lab.folder / "run" / "ntp-11123.counters").write_bytes(b"TRUECNTR and then nothing")
        until(lambda: scrape(console).get("truechimer_up{}") == 1.0)
        assert not any(name.startswith("truechimer_serve_") for name in scrape(console))


@pytest.mark.slow
@pytest.mark.parametrize(("word", "status", "compatible"), [("own", 200, False), ("off", 404, False)])
def test_metrics_can_be_narrowed_and_switched_off(
    lab: FakeLaboratory,
    word: str,
    status: int,
    compatible: bool,
) -> None:
    with a_console(lab.folder, "--metrics", word) as console, console.get("/metrics") as response:
        assert response.status == status
        assert (b"chrony_" in response.read()) is compatible


# ---- promtool --------------------------------------------------------------------------------------------------------


def promtool(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["promtool", *words], input=given, capture_output=True, check=False)


@pytest.mark.needs_promtool
def test_promtool_finds_no_fault_in_the_metrics() -> None:
    text = written(registry(full_status(), {DOOR: COUNTERS}, MetricNames.ALL), Format.TEXT)
    assert all(family.name.encode() in text for chosen in SETS.values() for family in chosen)
    found = promtool("check", "metrics", given=text)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


@pytest.mark.needs_promtool
def test_promtool_would_find_one() -> None:
    assert promtool("check", "metrics", given=b"# TYPE truechimer_x counter\ntruechimer_x 1\n").returncode != 0


@pytest.mark.needs_promtool
def test_the_rules_that_are_shipped_are_rules_and_fire_when_they_should() -> None:
    checked = promtool("check", "rules", str(ROOT / "labs" / "alerts.rules.yml"))
    assert checked.returncode == 0, checked.stderr
    tested = promtool("test", "rules", str(ROOT / "tests" / "metrics" / "alerts.test.yml"))
    assert tested.returncode == 0, tested.stderr + tested.stdout


def test_the_rules_name_metrics_that_exist() -> None:
    text = (ROOT / "labs" / "alerts.rules.yml").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    named = set(re.findall(r"(?<![:\w])((?:truechimer|chrony)_[a-z0-9_]+)", text))
    known = {family.name for chosen in SETS.values() for family in chosen}
    assert len(named) > 8
    assert named <= known


def test_two_doors_that_share_a_port_have_files_of_their_own() -> None:
    names = {door_name("ntp", address, 123) for address in ("127.0.0.1", "192.0.2.1", "2001:db8::1", "::1")}
    assert len(names) == 4
    assert all("/" not in name and ":" not in name for name in names)
