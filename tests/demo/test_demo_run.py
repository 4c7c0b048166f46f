"""One short run of the demo, as anybody would start it in a pipe: its document, its table, and what it leaves."""

import math
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.demo.judging import faults_of, rows_that_differ
from tests.demo.running import Demo, a_demo

SEED = 5


@pytest.fixture(scope="module")
def run() -> Iterator[Demo]:
    """A finished run of `demo --for 3 --json`."""
    with (
        tempfile.TemporaryDirectory() as folder,
        a_demo(Path(folder), "--for", "3", "--seed", str(SEED), "--json") as demo,
    ):
        assert demo.end() == 0, demo.said
        yield demo


def test_the_document_has_the_keys_of_the_contract_and_figures_in_reason(run: Demo) -> None:
    assert faults_of(run.document(), live=False) == []


def test_the_document_says_the_seed_that_was_asked_for(run: Demo) -> None:
    assert run.document()["seed"] == SEED
    assert f"seed {SEED} " in run.said


def test_no_number_of_the_document_is_infinite_or_not_a_number(run: Demo) -> None:
    def numbers(value: object) -> Iterator[float]:
        if isinstance(value, dict):
            for part in value.values():
                yield from numbers(part)
        elif isinstance(value, list):
            for part in value:
                yield from numbers(part)
        elif isinstance(value, float):
            yield value

    assert all(math.isfinite(number) for number in numbers(run.document()))


def test_the_table_prints_the_figures_of_the_document(run: Demo) -> None:
    assert rows_that_differ("".join(run.err), run.document()) == []


def test_the_sums_below_the_table_are_those_of_the_document(run: Demo) -> None:
    body, said = run.document(), "".join(run.err)
    assert f"{body['lies']} in {body['samples']} live samples and {body['branch_samples']} of branches" in said
    assert f"stated bound at most {body['bound_s_max'] * 1e9:.1f} ns" in said
    assert f"at most {body['true_error_s_max'] * 1e9:.2f} ns in {body['samples']} samples" in said
    assert f"{body['ntp_requests']} requests" in said
    assert f"{body['replay']['records_compared']} were replayed bit for bit" in said


def test_a_run_too_short_for_live_events_says_so_and_waits_for_its_branches(run: Demo) -> None:
    assert "the time is up; the demo ends as soon as its branches are run" in run.said
    assert re.search(r"branch, 30 days in [\d.]+ s: ", run.said)


def test_the_columns_of_the_table_stand_below_one_another(run: Demo) -> None:
    lines = [line.rstrip("\n") for line in run.err]
    head = next(k for k, line in enumerate(lines) if line.startswith("what happened"))
    assert len({len(line) for line in lines[head : head + 5]}) == 1
    assert lines[head + 5] == ""


def test_a_finished_run_leaves_no_file_no_process_and_no_port(run: Demo) -> None:
    assert run.left_behind() == []
