"""The first word chooses the verb; what a verb raises becomes one line and a status."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from truechimer.cli import __main__ as program
from truechimer.errors import Misuse, Rejected

CLI = Path(program.__file__).parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "truechimer", *words], capture_output=True, text=True, check=False
    )


def test_the_table_of_verbs_is_the_modules_that_are_there() -> None:
    modules = {path.stem for path in CLI.glob("*_verb.py")}
    assert {module for module, _ in program.VERBS.values()} == modules
    assert {verb.replace("-", "_") + "_verb" for verb in program.VERBS} == modules
    assert all(says and says == says.strip() and not says.endswith(".") for _, says in program.VERBS.values())


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown and says in shown for verb, (_, says) in program.VERBS.items())
    assert program.main([]) == 2
    assert capsys.readouterr().out == shown


def test_version_is_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    from truechimer import __version__

    assert program.main(["--version"]) == 0
    assert capsys.readouterr().out == f"truechimer {__version__}\n"


def test_an_unknown_verb_is_wrong_use_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["chek", "x"]) == 2
    assert program.main(["zzzz\x1b[2J"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no verb chek; did you mean check?" in err
    assert "\x1b" not in err
    assert len(err.splitlines()) == 2


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A verb whose `main` the test writes."""
    module = SimpleNamespace(main=lambda _: 0)
    monkeypatch.setitem(program.VERBS, "probe", ("probe_verb", "probe"))
    monkeypatch.setitem(sys.modules, "truechimer.cli.probe_verb", module)
    return module


def test_the_verb_gets_its_words_and_gives_its_status(verb: SimpleNamespace) -> None:
    got: list[list[str]] = []
    verb.main = lambda argv: got.append(argv) or 1
    assert program.main(["probe", "a", "--help"]) == 1
    assert got == [["a", "--help"]]


def test_rejected_input_is_one_line_and_status_2(verb: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: list[str]) -> int:
        raise Rejected("the file\n  is broken; mend it")

    verb.main = refuse
    assert program.main(["probe"]) == 2
    assert capsys.readouterr() == ("", "truechimer probe: the file is broken; mend it\n")


def test_ctrl_c_is_quiet(verb: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: list[str]) -> int:
        raise KeyboardInterrupt

    verb.main = interrupt
    assert program.main(["probe"]) == 130
    assert capsys.readouterr() == ("", "")


def test_our_own_mistakes_are_not_hidden(verb: SimpleNamespace) -> None:
    def fail(_: list[str]) -> int:
        raise Misuse("a bug")

    verb.main = fail
    with pytest.raises(Misuse):
        program.main(["probe"])


def test_a_reader_that_goes_away_ends_the_program_quietly() -> None:
    command = [sys.executable, "-P", "-m", "truechimer", "check", "--schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_module_and_the_package_are_one_program() -> None:
    assert run("--version").stdout == run("version").stdout
    assert run("nothing").returncode == 2


@pytest.mark.parametrize("verb_name", sorted(program.VERBS))
def test_every_verb_explains_itself_and_refuses_an_unknown_option_in_one_line(
    verb_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        program.main([verb_name, "--help"])
    assert left.value.code == 0
    assert verb_name in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        program.main([verb_name, "--no-such-option"])
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
