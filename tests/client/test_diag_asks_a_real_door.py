"""diag asks a real serve process over NTP: a door that tells the laboratory's time, and one that tells another."""

import dataclasses
from pathlib import Path

from tests.control.fake_laboratory import FakeLaboratory, host_label
from tests.daemon_serve.doors import a_door, a_live_page, a_page_in

from truechimer.cli import diag_checks
from truechimer.cli.diag_checks import Check, Outcome


def check_of(lab: FakeLaboratory, port: int) -> Check:
    (check,) = diag_checks.doors({"listeners": [{"protocol": "ntp", "address": "127.0.0.1", "port": port}]}, lab.folder)
    return check


def test_a_door_with_the_laboratorys_time_is_ok_and_one_with_another_fails(tmp_path: Path) -> None:
    page = a_live_page()
    with FakeLaboratory(tmp_path / "lab") as lab, a_page_in(tmp_path, page) as writer, a_door(tmp_path) as door:
        lab.bound_s = 0.05  # the fake laboratory's time is the wall clock, read a little later than the page's
        found = check_of(lab, door.port)
        assert found.outcome is Outcome.OK, found.says
        assert "agrees with the laboratory" in found.says
        moved = dataclasses.replace(a_live_page(), anchor_tai_fs=host_label().tai_fs + 5 * 10**15)
        writer.publish(moved)
        found = check_of(lab, door.port)
        assert found.outcome is Outcome.FAIL
        assert "another time" in found.says
