"""Names of CGGTTS files, XFLLmodd.ddd: what a name says, and whether a file is what its name says.

It opens nothing. X: satellite system (G R E C J I, M several); F: S one channel, M one frequency, Z two; LL:
laboratory; mo: receiver; dd.ddd: the MJD. Source: Defraigne and Petit 2015, section 3. Real names break the rule, so
that a name is checked only where somebody relies on it: in what is sent to the BIPM.
"""

import re
from dataclasses import dataclass

from truechimer.errors import Misuse
from truechimer.formats.cggtts import CggttsFile
from truechimer.formats.finding import Finding, Severity

_NAME = re.compile(r"([GRECJIM])([SMZ])([A-Z0-9_]{2})([A-Z0-9_]{2})([0-9]{2})\.([0-9]{3})", re.IGNORECASE)
_LETTERS = {"S": "one channel", "M": "one frequency", "Z": "two frequencies"}


@dataclass(frozen=True, slots=True)
class CggttsName:
    """What a name says. `system`: letter; `kind`: S, M or Z; `laboratory`, `receiver`: two characters each; `mjd`."""

    system: str
    kind: str
    laboratory: str
    receiver: str
    mjd: int

    def text(self) -> str:
        """Return the name."""
        name = f"{self.system}{self.kind}{self.laboratory}{self.receiver}{self.mjd // 1000:02d}.{self.mjd % 1000:03d}"
        if _NAME.fullmatch(name) is None:
            raise Misuse(f"{name!r} is no name XFLLmodd.ddd")
        return name


def of(text: str) -> CggttsName | None:
    """Return what a name says, None where it is none."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    system, kind, laboratory, receiver, tens, rest = found.groups()
    return CggttsName(system.upper(), kind.upper(), laboratory.upper(), receiver.upper(), int(tens + rest))


def check(name: str, value: CggttsFile) -> list[Finding]:
    """Return what of a file is not as its name says: its day, its systems, whether it measured the ionosphere."""
    said = of(name)
    if said is None:
        return [Finding("name", f"{name[:40]!r} is no name XFLLmodd.ddd: rename the file before it is sent")]
    findings = []
    tracks = value.tracks
    days = sorted(set(tracks.mjd.tolist()))
    if days != [said.mjd]:
        held = f"{days[0]} to {days[-1]}" if days else "no track"
        findings.append(Finding("name-day", f"the name says MJD {said.mjd}, the file holds {held}"))
    systems = sorted({letter.decode() for letter in tracks.system.tolist()})
    wanted = "M" if len(systems) > 1 else "".join(systems)
    if systems and said.system != wanted:
        findings.append(
            Finding("name-system", f"the name says system {said.system}, the file holds {' '.join(systems)}")
        )
    measured = bool(len(tracks)) and value.layout.ionosphere
    if (said.kind == "Z") != measured and len(tracks):
        has = "has" if measured else "has no"
        says = f"the name says {_LETTERS[said.kind]}, the file {has} measured ionosphere"
        findings.append(Finding("name-kind", says, None, None, Severity.WARNING))
    return findings
