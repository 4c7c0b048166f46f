"""The fifth walk is real: a file lies in the folder of a running laboratory, and every named function is called, in the
order of the page.
"""

from collections.abc import Iterator

import pytest
from tests.daemon_faults.laboratories import Run, write_lab
from tests.daemon_laboratory.test_published_folder import WITH_VALUES, Clock, look, values
from tests.walks.tracing import Trace, names_in

from truechimer.daemon import notify, published_turn

PAGE = "05-a-published-value.md"
SECTIONS = ("The file", "The order")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Trace]]:
    folder = tmp_path_factory.mktemp("published")
    write_lab(folder, days=6.0, text=WITH_VALUES)
    traces = {title: Trace() for title in SECTIONS}
    clock = Clock()
    with pytest.MonkeyPatch.context() as quiet:
        quiet.setattr(notify, "say", lambda _alert, _seq=None: None)
        quiet.setattr(published_turn, "time", clock)
        run = Run.begin(folder).epochs(1)
        first, second = values(run, until_days_ago=2), values(run)
        (folder / "published" / "first.csv").write_text(first)
        look(run, clock, 3)
        (folder / "published" / "second.csv").write_text(second)
        with traces["The file"]:
            look(run, clock, 3)
        known = run.laboratory.started.state.publications
        assert known is not None
        assert known.is_known
        with traces["The order"]:
            run.epoch(after_s=6.5 * 3_600.0)
        yield traces
        run.close()


@pytest.mark.parametrize("title", SECTIONS)
def test_each_section_is_walked_in_its_order(title: str, walked: dict[str, Trace]) -> None:
    names = list(dict.fromkeys(names_in(PAGE, title)))
    assert len(names) >= 8
    walked[title].must_pass(names)
