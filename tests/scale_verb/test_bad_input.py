"""Whatever file it is given, `scale replay` says in one line what, why and what to do, or counts what it put aside."""

import gzip
import random
from pathlib import Path

import pytest

from .records import HEADER, START_NS, clocks_true_s, rows, run, written

NAMES = ["a", "b", "c", "d"]
LINES = rows(clocks_true_s(2.0, [1e-12] * 4), NAMES)
GOOD = "\n".join([HEADER, *LINES]) + "\n"


def the_other_way_round(line: str) -> str:
    """The same two clocks at the same epoch, with the other one first."""
    epoch, a, b, x, u = line.split(",")
    return f"{epoch},{b},{a},{-float(x)!r},{u}"


def clocks_toml(names: str) -> str:
    return "".join(f'[[clock]]\nname = "{name}"\nkind = "maser"\n' for name in names)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (HEADER.encode() + b"\n", "no reading"),
        (b"# nothing\n", "no reading"),
        (b"time,clock,value\n1,a,2\n", "no header"),
        (GOOD.partition("\n")[2].encode(), "no header"),
        (GOOD.replace(",", ";").encode(), "no header"),
        (bytes(range(256)) * 300, "binary"),
        (GOOD.encode("utf-16"), "UTF-16"),
        (GOOD.encode("utf-16-be"), "UTF-16"),
        (gzip.compress(GOOD.encode())[:-9], "ends too soon"),
        (GOOD.replace("\n", "\r").encode(), "CR"),
        ((HEADER + f"\n{START_NS},UTC,UTCr,1e-9,1e-9\n").encode(), "none of 1 readings"),
        ("\n".join([HEADER, f"{START_NS},b,a,0,1e-9", f"{START_NS + 10**18},b,a,0,1e-9", ""]).encode(), "d apart"),
    ],
)
def test_a_file_that_makes_no_scale_is_refused_in_one_line(
    data: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "readings.csv"
    source.write_bytes(data)
    ran = run(capsys, source, "--out", tmp_path / "scale.csv")
    assert ran.status == 2
    assert ran.out == ""
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "scale.csv").exists()


@pytest.mark.parametrize(
    ("more", "rule", "count"),
    [
        ([line for line in LINES for _ in (0, 1)], "duplicate", len(LINES)),
        ([f"{START_NS},a,a,0.0,1e-11", *LINES], "same-clock", 1),
        ([either for line in LINES for either in (line, the_other_way_round(line))], "duplicate", len(LINES)),
        ([*LINES, LINES[0]], "out-of-order", 1),
        ([*LINES, "1,2,3"], "columns", 1),
        ([*LINES, f"{START_NS * 2},b,a,nan,1e-11"], "not-a-number", 1),
        ([*LINES, f"{START_NS * 2},b,a,0.0,inf"], "not-a-number", 1),
        ([*LINES, f"{START_NS * 2},b,a,0.0,-1e-9"], "negative-uncertainty", 1),
    ],
    ids=["twice", "itself", "both-ways", "back", "columns", "nan", "inf", "negative"],
)
def test_a_row_that_cannot_be_used_is_named_and_counted_and_the_rest_is_used(
    more: list[str], rule: str, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run(capsys, written(tmp_path / "readings.csv", more), "--json")
    assert ran.status == 0
    assert ran.document["rejected_count"] == count
    assert {finding["rule"] for finding in ran.document["rejected"]} == {rule}
    assert ran.document["readings"] == len(LINES)
    assert f"{count} {rule}" in ran.err
    assert len(ran.err.splitlines()) <= 6


def test_names_in_one_of_the_two_files_only_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "readings.csv", LINES)
    clocks = tmp_path / "clocks.toml"
    clocks.write_text(clocks_toml("abcz"), encoding="utf-8")
    ran = run(capsys, source, "--clocks", clocks, "--json")
    assert ran.status == 0
    assert {finding["rule"] for finding in ran.document["rejected"]} == {"unknown-clock"}
    assert "'d'" in ran.document["rejected"][0]["says"]
    assert [each["says"].split()[0] for each in ran.document["noticed"] if each["rule"] == "unread-clock"] == ["z"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[clock]]\nname = 3\nkind = "maser"\n', "write text"),
        ('[[clock]]\nname = "a"\nkind = "sundial"\n', "kind"),
        ('[[clock]]\nname = "a"\nkind = "maser"\nnoise = { foo = 1 }\n', "no key foo"),
        ('[[clock]]\nname = "a"\nkind = "maser"\nnoise = { white_fm_1s = -1.0 }\n', "at least 0"),
        ('[[clock]]\nname = "UTC"\nkind = "maser"\n', "rename it"),
        (clocks_toml("aa"), "two clocks are called a"),
        ("", "[[clock]]"),
        ("[[clock", "not valid TOML"),
    ],
)
def test_a_clock_file_with_a_fault_is_refused_before_anything_runs(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written(tmp_path / "readings.csv", LINES)
    clocks = tmp_path / "clocks.toml"
    clocks.write_text(text, encoding="utf-8")
    ran = run(capsys, source, "--clocks", clocks)
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err
    assert ran.err.splitlines()[-1].endswith("correct it and try again")


def test_groups_that_nothing_connects_are_named_and_never_called_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = clocks_true_s(2.0, [1e-12] * 5)
    lines = rows(x[:, :3], ["a", "b", "c"]) + rows(x[:, 3:], ["d", "e"])
    lines.sort(key=lambda line: int(line.split(",")[0]))
    out = tmp_path / "scale.csv"
    ran = run(capsys, written(tmp_path / "readings.csv", lines), "--json", "--out", out)
    noticed = [each["says"] for each in ran.document["noticed"] if each["rule"] == "not-connected"]
    assert len(noticed) == 1
    assert set(noticed[0].partition(":")[0].split(", ")) == {"d", "e"}
    assert "no chain of readings" in out.read_text(encoding="utf-8").splitlines()[-1]
    assert {each["clock"] for each in ran.document["events"] if each["what"] == "cut-off"} == {"d", "e"}


def test_one_epoch_from_the_far_future_is_pointed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*LINES[:30], f"{2 * START_NS},b,a,0.0,1e-11", *LINES[30:]]
    ran = run(capsys, written(tmp_path / "readings.csv", lines), "--json")
    noticed = [each["says"] for each in ran.document["noticed"] if each["rule"] == "mostly-rejected"]
    assert len(noticed) == 1
    assert "after line 32" in noticed[0]


def test_nothing_is_written_onto_what_is_read_nor_where_nothing_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written(tmp_path / "readings.csv", LINES)
    link = tmp_path / "link.csv"
    link.symlink_to(source)
    before = source.read_bytes()
    same = tmp_path / "both.svg"
    for words in (
        ("--out", source),
        ("--out", link),
        ("--out", tmp_path / "." / "readings.csv"),
        ("--out", tmp_path),
        ("--out", tmp_path / "none" / "scale.csv"),
        ("--out", same, "--plot", same),
        ("--plot", tmp_path / "picture.gif"),
    ):
        ran = run(capsys, source, *words)
        assert (ran.status, ran.out, len(ran.err.splitlines())) == (2, "", 1), words
    assert source.read_bytes() == before


def test_a_link_keeps_pointing_and_a_device_stays_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "readings.csv", LINES)
    (tmp_path / "real.csv").write_text("old\n", encoding="utf-8")
    link = tmp_path / "scale.csv"
    link.symlink_to(tmp_path / "real.csv")
    assert run(capsys, source, "--out", link).status == 0
    assert link.is_symlink()
    assert (tmp_path / "real.csv").read_text(encoding="utf-8").startswith("epoch_mjd,")
    assert run(capsys, source, "--out", "/dev/null").status == 0
    assert Path("/dev/null").is_char_device()
    assert run(capsys, source, "--out", "/dev/full").status == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["readings.csv", "real.csv", "scale.csv"]


def broken(data: bytes, rng: random.Random) -> bytes:
    """A file with a few bytes changed, moved, left out or put in."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(out) or 1)
        what = rng.randrange(5)
        if what == 0 and out:
            out[at] = rng.randrange(256)
        elif what == 1:
            del out[at : at + rng.randrange(1, 200)]
        elif what == 2:
            words = (b"\n", b",", b"\0", b"1e308", b"-", b"nan", b"9" * 30, b"#", b"UTC", b"e+9", b"e-320", b"host")
            out[at:at] = rng.choice(words)
        elif what == 3:
            other = rng.randrange(len(out) or 1)
            out[at:at] = out[other : other + rng.randrange(400)]
        else:
            old, new = rng.choice(((b",a,", b",c,"), (b"e-", b"e+"), (b",a\n", b",UTC,"), (b"17000", b"1700")))
            out = out.replace(old, new, rng.choice((1, 5, 10_000)))
    return bytes(out)


def check_broken(seed: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(seed)
    source, clocks, picture = folder / "readings.csv", folder / "clocks.toml", folder / "picture.svg"
    source.write_bytes(broken(GOOD.encode(), rng))
    clocks.write_bytes(
        broken(clocks_toml("abcd").encode(), rng) if rng.random() < 0.5 else clocks_toml("abcd").encode()
    )
    words = ["--json", "--plot", picture] + ["--clocks", clocks] * (rng.random() < 0.5)
    ran = run(capsys, source, *words, "--algorithm", rng.choice(("bands", "at1", "algos")))
    assert ran.status in {0, 2}, seed
    if ran.out:
        assert ran.document["epochs"] > 0, seed
    assert ran.status == 0 or ran.err.strip(), seed


def test_a_broken_file_ends_in_a_table_or_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(25):
        check_broken(seed, tmp_path, capsys)


@pytest.mark.slow
def test_many_broken_files_end_in_a_table_or_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(1000, 1100):
        check_broken(seed, tmp_path, capsys)
