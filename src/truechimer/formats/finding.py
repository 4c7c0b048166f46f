"""What a reader says about its input: where, which rule, how bad, and what to do.

It does not decide whether the input is used: that is the caller's.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding costs: `error` means that the value of this place is not used."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of an input.

    `line` and `column` count from 1; None where the fault belongs to the whole input. `rule` is a short stable name
    (kebab case) that
    programs may test; `says` is one sentence for a person: what, why and what to do.
    """

    rule: str
    says: str
    line: int | None = None
    column: int | None = None
    severity: Severity = Severity.ERROR

    def at(self, name: str) -> str:
        """Return `name:line:column: says`, as compilers print it."""
        place = name if self.line is None else f"{name}:{self.line}"
        place = place if self.column is None or self.line is None else f"{place}:{self.column}"
        return f"{place}: {self.says}"


def has_errors(findings: "list[Finding] | tuple[Finding, ...]") -> bool:
    """Return True if any finding is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)
