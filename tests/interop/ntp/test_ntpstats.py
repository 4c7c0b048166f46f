"""An independent client in Python (ntpstats) against our door: every version, and a mode that we do not offer."""

from pathlib import Path

import pytest
from tests.daemon_serve.doors import a_door, a_live_page, a_page_in

from truechimer.daemon.door.door_rules import DoorRules
from truechimer.serve import ServiceState

sntp = pytest.importorskip("ntpstats.sntp")


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_each_version_is_answered_and_means_the_same(tmp_path: Path, version: int) -> None:
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        found = sntp.query("127.0.0.1", port=door.port, version=version)
    assert (found.version, found.stratum, found.leap) == (version, 1, 0)
    assert abs(found.offset) <= found.delay / 2 + found.root_dispersion + 1e-3
    assert found.root_dispersion > 0


def test_unsynchronised_is_refused_as_a_kiss_without_meaning(tmp_path: Path) -> None:
    page = a_live_page(state=ServiceState.ACQUIRING)
    with a_page_in(tmp_path, page), a_door(tmp_path) as door, pytest.raises(sntp.KissOfDeath, match="INIT"):
        sntp.query("127.0.0.1", port=door.port)


def test_version_5_is_not_answered_and_not_promised(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        assert not sntp.supports_v5("127.0.0.1", port=door.port)
        with pytest.raises((sntp.NTPError, OSError)):
            sntp.query("127.0.0.1", port=door.port, version=5, timeout=0.3)


def test_a_client_that_asks_for_interleaved_mode_at_its_second_question_gets_a_basic_answer(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        found = sntp.query_interleaved("127.0.0.1", port=door.port, spacing=0.05)
    assert not found.interleaved  # its first question had no origin, so nothing was kept (RFC 9769 allows; as chronyd)
    assert found.stratum == 1


def test_a_client_of_version_5_is_offered_it_and_understands_every_field(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path, "--rules", DoorRules(ntpv5=True).text()) as door:
        assert sntp.supports_v5("127.0.0.1", port=door.port)
        found = sntp.query("127.0.0.1", port=door.port, version=5)
    assert (found.version, found.stratum, found.leap) == (5, 1, 0)
    assert (found.timescale, found.era, found.flags & 5) == ("utc", 0, 1)
    assert found.draft == "draft-ietf-ntp-ntpv5-09"
    assert abs(found.offset) <= found.delay / 2 + found.root_dispersion + 1e-3
