"""The documents say what the code says: fixed words are explained, links lead somewhere, blocks are made."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.cli.__main__ import VERBS
from truechimer.clocks.clock import ClockKind
from truechimer.compare.selection import SelectionState, Verdict
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.evidence.kinds import KINDS
from truechimer.formats.toml_fields import fields_of, is_table, item_of, members_of
from truechimer.scale.state import Membership
from truechimer.serve.clock_page import ServiceState
from truechimer.steer.bound import BoundTerms

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
GLOSSARY = DOCS / "glossary.md"
ALERTS, RECORDS, LAB_FILE = (DOCS / "guide" / name for name in ("alerts.md", "records.md", "lab-file.md"))


def the_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_docs", ROOT / "builders" / "build_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILDER = the_builder()
DEMO, PACKAGES = (importlib.import_module(name) for name in ("demo_tables", "package_tables"))  # beside it


def words_of(page: Path) -> set[str]:
    """Return what stands in backquotes on a page."""
    return set(re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")))


def rows_of(page: Path, heading: str) -> list[str]:
    """Return the first words in backquotes of the rows of the table whose first column is headed `heading`."""
    text = page.read_text(encoding="utf-8")
    table = re.search(rf"(?m)^\| {re.escape(heading)} \|[^\n]*\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)", text)
    assert table is not None, f"{page.name} has no table of {heading}"
    return re.findall(r"(?m)^\| `([^`]+)`", table[1])


# ---- every fixed word is explained -----------------------------------------------------------------------------------


def test_every_kind_of_alert_is_explained_and_no_other() -> None:
    raised = rows_of(ALERTS, "kind")
    assert len(raised) == len(set(raised))
    later = {word for word in words_of(ALERTS) if word in set(AlertKind)} - set(raised)
    assert set(raised) | later == {kind.value for kind in AlertKind}


def test_an_alert_that_the_code_raises_is_not_called_a_later_one() -> None:
    sources = [path for path in (ROOT / "src" / "truechimer").rglob("*.py") if path.name != "alerts.py"]
    raised = set(re.findall(r"AlertKind\.([A-Z_]+)\b", "\n".join(path.read_text(encoding="utf-8") for path in sources)))
    assert {AlertKind[name].value for name in raised} <= set(rows_of(ALERTS, "kind"))


@pytest.mark.parametrize(
    ("page", "heading", "words"),
    [
        (ALERTS, "severity", [severity.value for severity in AlertSeverity]),
        (RECORDS, "kind", list(KINDS)),
        (GLOSSARY, "word", [member.name.lower().replace("_", "-") for member in Membership]),
        (GLOSSARY, "verdict", [verdict.value for verdict in Verdict]),
        (GLOSSARY, "term", list(BoundTerms.__dataclass_fields__)),
    ],
)
def test_a_list_of_fixed_words_is_complete_and_in_the_order_of_the_code(
    page: Path, heading: str, words: list[str]
) -> None:
    assert rows_of(page, heading) == words


def test_every_state_is_explained_with_what_its_doors_say() -> None:
    table = re.findall(
        r"(?m)^\| `([a-z]+)` \| [^|]+ \| (?:un)?synchronised[^|]* \|$", GLOSSARY.read_text(encoding="utf-8")
    )
    assert table == [state.value for state in ServiceState]


def test_the_numbers_of_memberships_are_those_of_the_records() -> None:
    shown = re.findall(r"(?m)^\| `([a-z-]+)` \| (\d+) \|", GLOSSARY.read_text(encoding="utf-8"))
    assert {name.upper().replace("-", "_"): int(number) for name, number in shown} == {
        m.name: m.value for m in Membership
    }


@pytest.mark.parametrize("word", [*ClockKind, *SelectionState])
def test_other_fixed_words_stand_in_the_glossary(word: str) -> None:
    assert str(word) in words_of(GLOSSARY)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_is_in_the_guide(verb: str) -> None:
    guide = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "guide").glob("*.md"))
    assert re.search(rf"(?m)^#+ .*`truechimer {verb}\b", guide), f"no heading in docs/guide names `truechimer {verb}`"


def keys_of(cls: type, prefix: str = "") -> set[str]:
    """Return every key of a table and of the tables in it."""
    keys = set()
    for item in fields_of(cls):
        keys.add(prefix + item.key)
        for member in members_of(item.hint):
            if is_table(member):
                keys |= keys_of(member, f"{prefix}{item.key}.")
    return keys


@pytest.mark.parametrize("table", [item.key for item in fields_of(LabFile)])
def test_every_key_of_a_laboratorys_file_is_in_the_guide(table: str) -> None:
    item = next(item for item in fields_of(LabFile) if item.key == table)
    entry = item_of(item.hint)
    section = re.search(rf"(?ms)^## `\[+{table}\]+`$(.*?)(?=^## |\Z)", LAB_FILE.read_text(encoding="utf-8"))
    assert section is not None
    assert set(re.findall(r"(?m)^\| `([^`]+)`", section[1])) == keys_of(entry or item.hint)


# ---- the pages hold together -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_that_is_there(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_decisions_are_listed_in_order_under_their_titles() -> None:
    pages = sorted((DOCS / "adr").glob("[0-9]*.md"))
    listed = re.findall(
        r"(?m)^(\d+)\. \[([^\]]+)\]\(([^)]+)\)$", (DOCS / "adr" / "README.md").read_text(encoding="utf-8")
    )
    titles = [page.read_text(encoding="utf-8").split("\n")[0] for page in pages]
    assert titles == [f"# {number}. {title}" for number, title, _ in listed]
    assert [(int(number), name) for number, _, name in listed] == [(int(page.name[:4]), page.name) for page in pages]
    assert len({number for number, _, _ in listed}) == len(listed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_decision_that_is_cited_by_number_is_the_one_that_is_linked(page: Path) -> None:
    cited = re.findall(r"\[ADR (\d+)\]\((?:[^)]*/)?(\d{4})-[^)]*\)", page.read_text(encoding="utf-8"))
    assert all(int(number) == int(file) for number, file in cited)


@pytest.mark.parametrize(
    ("name", "most_words"),
    [("README.md", 1100), ("CONTRIBUTING.md", 600), ("docs/threat-model.md", 1000)],
)
def test_a_page_that_is_to_be_read_whole_stays_short(name: str, most_words: int) -> None:
    assert 100 < len((ROOT / name).read_text(encoding="utf-8").split()) <= most_words


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("[0-9]*.md")), ids=lambda page: page.name)
def test_a_decision_takes_one_page(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").split()) <= 700


def test_what_the_dependencies_page_says_of_imports_is_so() -> None:
    rooms: dict[str, set[str]] = {name: set() for name in ("starlette", "uvicorn", "numba", "cryptography")}
    package = ROOT / "src" / "truechimer"
    for path in package.rglob("*.py"):
        for name in re.findall(r"(?m)^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8")):
            if name in rooms:
                rooms[name].add(path.relative_to(package).parts[0])
    assert rooms["cryptography"] == {"quorum", "evidence", "serve"}
    assert rooms["numba"] == {"kernel.py"}
    assert rooms["starlette"] | rooms["uvicorn"] <= {"console"}


# ---- what is made is made --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(BUILDER.documents()), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_figure_between_markers_was_typed_by_hand(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == BUILDER.documents()[path], "run builders/build_docs.py"


def the_kept_demo() -> dict[str, Any]:
    kept = json.loads((DOCS / "measured" / "demo.json").read_text(encoding="utf-8"))
    body: dict[str, Any] = kept["demo"]
    return body


def test_the_run_that_the_readme_shows_bears_its_claims() -> None:
    assert BUILDER.broken_claims(the_kept_demo()) == []


def broken_demos() -> list[tuple[str, dict[str, Any]]]:
    """Return runs of which each breaks one claim, with the place of that claim in its words."""
    good = the_kept_demo()

    def other(what: str, **changed: Any) -> dict[str, Any]:
        events = [{**event, **changed} if event["what"] == what else event for event in good["events"]]
        return {**good, "events": events}

    def without(what: str, key: str) -> dict[str, Any]:
        events = [
            {name: value for name, value in event.items() if name != key or event["what"] != what}
            for event in good["events"]
        ]
        return {**good, "events": events}

    return [
        ("four events", {**good, "events": [*good["events"], good["events"][0]]}),
        ("no lie", {**good, "lies": 1}),
        ("no lie", {**good, "true_error_s_max": good["bound_s_max"] * 1.01}),
        ("no lie", other("slow-drag", true_error_ns=1e3)),
        ("no lie", {**good, "samples": 0}),
        ("below 30 ns", {**good, "bound_s_max": 31e-9}),
        ("below 30 ns", {**good, "state": "holdover"}),
        ("step is seen", without("clock-step", "detected_after_s")),
        ("step is seen", other("clock-step", detected_after_s=21.0)),
        ("step is seen", other("clock-step", scale_moved_ns=20.0)),
        ("link is outvoted", without("link-ramp", "detected_after_s")),
        ("link is outvoted", other("link-ramp", served_moved_ns=1.0)),
        ("without links", other("holdover", state="steered")),
        ("without links", without("holdover", "detected_after_s")),
        ("NTP answers", {**good, "ntp_error_s_median": 1e-3}),
        ("every record", {**good, "replay": {"records_compared": 5, "difference": {"seq": 5, "why": "bytes"}}}),
        ("every record", {name: value for name, value in good.items() if name != "replay"}),
    ]


@pytest.mark.parametrize(("words", "body"), broken_demos())
def test_a_run_that_breaks_a_claim_is_found_out(words: str, body: dict[str, Any]) -> None:
    (broken,) = BUILDER.broken_claims(body)
    assert words in broken


def test_every_claim_is_broken_by_some_run_here() -> None:
    broken = {claim for _, body in broken_demos() for claim in BUILDER.broken_claims(body)}
    assert broken == {words for words, _ in DEMO.CLAIMS}


def test_a_run_that_breaks_a_claim_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    file.write_text(json.dumps({**the_kept_demo(), "lies": 3}), encoding="utf-8")
    before = (DOCS / "measured" / "demo.json").read_bytes()
    with pytest.raises(SystemExit, match="no lie"):
        BUILDER.keep_demo(file)
    assert (DOCS / "measured" / "demo.json").read_bytes() == before


def test_the_sizes_are_those_of_the_versions_that_are_pinned() -> None:
    sizes = json.loads((DOCS / "measured" / "package_sizes.json").read_text(encoding="utf-8"))["packages"]
    pinned = {name: version for kind in PACKAGES.SETS for name, version in PACKAGES.pins(ROOT, kind).items()}
    assert {name: entry["version"] for name, entry in sizes.items()} == pinned, "run builders/build_docs.py --sizes"


def test_measurements_are_shown_with_their_figures(tmp_path: Path) -> None:
    body = {
        "seeds": 32,
        "rigs": {"clean": {"lies": 0, "median_bound_s": 5.5e-9}, "small": {"lies": 1}},
        "list": [1.5, 2],
    }
    (tmp_path / "bound_coverage.json").write_text(json.dumps(body), encoding="utf-8")
    shown = BUILDER.measured_block(tmp_path)
    assert "- `seeds`: 32\n- `list`: 1.5, 2" in shown
    assert "| clean | 0 | 5.5e-09 |\n| small | 1 |  |" in shown


def test_few_things_with_many_facts_are_shown_upright(tmp_path: Path) -> None:
    body = {"worlds": {"demo": {"lies": 0, "samples": 10, "tight": True, "each": {"1": 2}}}}
    (tmp_path / "bound_coverage.json").write_text(json.dumps(body), encoding="utf-8")
    shown = BUILDER.measured_block(tmp_path)
    assert "|  | demo |\n| --- | --- |\n| `lies` | 0 |\n| `samples` | 10 |\n| `tight` | yes |" in shown


def test_without_a_measurement_nothing_is_claimed(tmp_path: Path) -> None:
    assert "nothing is claimed" in BUILDER.measured_block(tmp_path)
