"""`truechimer check LAB.toml`: everything that is wrong with a laboratory's file, at once, before anything starts.

It judges nothing itself (`daemon.lab.lab_check` does) and starts nothing. Exit status: 0 the file is good (warnings are
printed); 1 it has faults; 2 it cannot be opened, or wrong use.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from truechimer.cli.arguments import verb_parser
from truechimer.cli.lab_arguments import OF_THE_USER, add_insecure_options, fault_lines, insecure_flags, now_label
from truechimer.client import ask
from truechimer.daemon.hold import without_own_doors
from truechimer.daemon.lab.lab_check import CheckedLab, check_lab
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.errors import Rejected
from truechimer.formats.finding import Severity, has_errors
from truechimer.formats.toml_tree import json_schema, read_with_lines


def main(argv: list[str]) -> int:
    """Check a file and print its faults as `file:line: what, why, what to do`."""
    parser = verb_parser("check", "Say everything that is wrong with a laboratory's file; start nothing.")
    parser.epilog = "Exit status: 0 good (perhaps with warnings); 1 it has faults; 2 it cannot be opened, or wrong use."
    parser.add_argument("file", metavar="LAB.toml", nargs="?", type=Path, help="the laboratory's file")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of such a file, and check nothing")
    parser.add_argument(
        "--observe", action="store_true", help="for `up --observe`: doors' ports, policy and keys are not looked at"
    )
    add_insecure_options(parser)
    options = parser.parse_args(argv)
    if options.schema:
        print(schema_text(), end="")
        return 0
    if options.file is None:
        parser.error("name the laboratory's file, for example LAB.toml")
    checked = check_lab(options.file, now=now_label(), flags=insecure_flags(options), observe=options.observe)
    checked = _as_it_runs(checked)
    if options.json:
        print(json.dumps(_document(checked), indent=1))
    else:
        for line in fault_lines(checked):
            print(line)
        print(_summary(checked))
    sys.stdout.flush()
    return 1 if checked.lab is None else 0


def _as_it_runs(checked: CheckedLab) -> CheckedLab:
    """Take back what is a fault for this user alone. Doors of this very laboratory have their ports by right: it runs,
    or it was killed and they are taken over. To root, who looks at a laboratory that somebody else runs (a unit), that
    user's keys are the laboratory's own.
    """
    checked = without_own_doors(checked, ours=True)
    own = [f"on {row['address']} port {row['port']}/" for row in _doors_open(checked.folder)]
    runs_as = checked.folder.stat().st_uid
    if os.geteuid() == 0 and runs_as != 0:
        own.append(f"belongs to user {runs_as},")
    if not own:
        return checked
    findings = tuple(
        one for one in checked.findings if one.rule not in OF_THE_USER or not any(words in one.says for words in own)
    )
    lab = None if has_errors(findings) else read_with_lines(checked.data, LabFile).value
    return replace(checked, lab=lab, findings=findings)


def _doors_open(folder: Path) -> list[dict[str, Any]]:
    """Return the doors with a port that this laboratory has open; none where it does not run or does not tell us."""
    try:
        rows = ask("status", lab=folder).get("listeners", [])
    except (Rejected, OSError):
        return []
    return [row for row in rows if isinstance(row, dict) and "address" in row and "port" in row]


def schema_text() -> str:
    """Return the JSON schema of LAB.toml as text."""
    return json.dumps(json_schema(LabFile), indent=1) + "\n"


def _document(checked: CheckedLab) -> dict[str, Any]:
    faults = []
    for finding in checked.findings:
        line = {} if finding.line is None else {"line": finding.line}
        column = {} if finding.column is None else {"column": finding.column}
        faults.append({**line, **column, "severity": finding.severity, "rule": finding.rule, "says": finding.says})
    name = {} if checked.lab is None else {"lab": checked.lab.lab.name}
    return {"file": str(checked.path), **name, "good": checked.lab is not None, "findings": faults}


def _summary(checked: CheckedLab) -> str:
    warnings = sum(finding.severity is Severity.WARNING for finding in checked.findings)
    words = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
    if checked.lab is None:
        faults = len(checked.findings) - warnings
        verb = "up --observe" if checked.observe else "up"
        return f"{checked.path}: {faults} fault{'s' * (faults != 1)}{words}; `truechimer {verb}` would not start"
    lab = checked.lab
    return (
        f"{checked.path}: good{words}: laboratory {lab.lab.name}, {_count(len(lab.clocks), 'clock')}, "
        f"{_count(len(lab.sources), 'source')}, {_count(len(lab.listeners), 'door')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
