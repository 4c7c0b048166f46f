"""The laboratories that ship are good ones: by the reader, by the rules and by the schema."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_rules import InsecureFlags, faults_between_keys
from truechimer.daemon.lab.source_settings import SourceKind
from truechimer.formats.toml_tree import read_with_lines

LABS = Path(__file__).parents[2] / "labs"
EXAMPLES = sorted(LABS.glob("*.toml"))


def test_there_is_an_example_of_every_kind_of_source_that_is_built() -> None:
    kinds = {source["kind"] for path in EXAMPLES for source in tomllib.loads(path.read_text())["source"]}
    assert kinds == {SourceKind.NTP, SourceKind.READINGS, SourceKind.LINK, SourceKind.SIMULATED}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_has_no_fault(path: Path) -> None:
    read = read_with_lines(path.read_bytes(), LabFile)
    assert read.value is not None
    assert [*read.findings, *faults_between_keys(read, InsecureFlags())] == []
    schema = json.loads((LABS / "lab.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(tomllib.loads(path.read_text()))
    assert path.read_text().startswith("#:schema ./lab.schema.json\n")
    assert all((LABS / source.scenario).is_file() for source in read.value.sources if source.scenario)
