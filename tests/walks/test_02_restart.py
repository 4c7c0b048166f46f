"""The second walk is real: a laboratory is killed, the next one goes on, its disk refuses and works again; every named
function is called, in the order of the page.
"""

from collections.abc import Iterator

import pytest
from tests.daemon_faults.laboratories import Run
from tests.walks.tracing import Trace, names_in

from truechimer.cli.lab_arguments import now_label
from truechimer.daemon import notify
from truechimer.daemon.early import open_early
from truechimer.daemon.hold import without_own_doors
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab.lab_reading import read_lab
from truechimer.daemon.lab.lab_rules import InsecureFlags

PAGE = "02-restart.md"


SECTIONS = ("The start", "The disk refuses", "It works again")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Trace]]:
    folder = tmp_path_factory.mktemp("restart")
    before = Run.copied(folder).epochs(3)
    before.kill()
    traces = {title: Trace() for title in SECTIONS}
    with pytest.MonkeyPatch.context() as quiet:
        quiet.setattr(notify, "say", lambda _alert, _seq=None: None)
        with traces["The start"]:
            told = read_lab(folder / "LAB.toml", InsecureFlags())
            assert told.lab is not None
            early = open_early(told.lab, folder, before.machine.clocks, observe=False, allow_simulated=False)
            assert early.hold is not None
            assert early.control is not None  # `now` is answered from here on; it has no door
            checked = without_own_doors(check_lab(folder / "LAB.toml", now=now_label()), ours=True)
            assert checked.lab is not None
            run = Run.begin(folder, before.machine, early=early)
            run.laboratory.open_doors()
            run.epoch()
        run.store.fails = lambda _: True
        with traces["The disk refuses"]:
            run.epoch()
            assert run.status()["store"]["state"] == "failing"
        run.store.fails = lambda _: False
        with traces["It works again"]:
            run.epoch(after_s=2.0)
            run.epoch(after_s=6.0)
        yield traces
        run.close()


@pytest.mark.parametrize("title", SECTIONS)
def test_each_section_is_walked_in_its_order(title: str, walked: dict[str, Trace]) -> None:
    names = list(dict.fromkeys(names_in(PAGE, title)))
    assert len(names) >= 3
    walked[title].must_pass(names)
