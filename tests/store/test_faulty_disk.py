"""Power cuts and a failing disk: what was acknowledged is there, once; every failure has a type; the store recovers."""

import json
from pathlib import Path

import pytest
from tests.store.faulty_disk import build, run_on

pytestmark = pytest.mark.needs_cc


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("faulty-disk"))


def test_a_power_cut_loses_nothing_acknowledged_and_leaves_no_half_of_a_step(library: Path) -> None:
    told = json.loads(run_on(library, "power_cuts", "101", "12"))
    assert told["faults"] == []
    assert told["cuts"] == 12


def test_a_store_that_does_not_wait_for_its_disk_is_found_out(library: Path) -> None:
    assert json.loads(run_on(library, "power_cuts", "102", "20", "careless"))["faults"]


def test_a_failing_call_is_refused_by_type_and_nothing_is_lost_once_the_disk_is_back(library: Path) -> None:
    told = json.loads(run_on(library, "faults", "103", *map(str, range(1, 200, 29))))
    assert told["faults"] == []
    assert sum(told["refused"].values()) > 3
    assert set(told["refused"]) <= {"StoreFull", "StoreIoFailed", "StoreReadOnly"}


@pytest.mark.slow
def test_a_full_disk_is_waited_out_by_the_same_object(library: Path) -> None:
    told = json.loads(run_on(library, "full_disk", "107"))
    assert told["in_order"]
    assert told["filled"] > 20
    assert told["refused"] == {"StoreFull": 50}


@pytest.mark.slow
def test_60_power_cuts(library: Path) -> None:
    told = json.loads(run_on(library, "power_cuts", "104", "60"))
    assert told["faults"] == []
    assert set(told["ways"]) == {"once", "again", "killed"}


@pytest.mark.slow
def test_every_third_call_fails_once(library: Path) -> None:
    told = json.loads(run_on(library, "faults", "105", *map(str, range(2, 200, 3))))
    assert told["faults"] == []
    assert told["refused"]["StoreFull"] > 0
    assert told["refused"]["StoreIoFailed"] > 0


@pytest.mark.acceptance
def test_200_power_cuts_of_5_seeds(library: Path) -> None:
    for seed in range(5):
        told = json.loads(run_on(library, "power_cuts", str(seed), "200"))
        assert told["faults"] == []
        assert told["cuts"] == 200


@pytest.mark.acceptance
def test_every_call_up_to_200_fails_in_every_way(library: Path) -> None:
    for first in range(1, 201, 20):
        told = json.loads(run_on(library, "faults", "106", "every", *map(str, range(first, first + 20))))
        assert told["faults"] == []
        assert told["runs"] == 300
