"""Where each key of a TOML text stands: `tomllib` gives values without lines, this gives lines without values.

It does not judge the text: it is called only on text that `tomllib` has accepted, and understands just enough to walk
over values (TOML 1.0: comments, the four kinds of strings, arrays, inline tables, dotted and quoted keys, headers).
"""

from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""From the root to a value: table keys as text, array positions as numbers counted from 0."""

_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}
_BARE_END = frozenset(" \t\r\n.=]")
_SCALAR_END = frozenset(",]}#\n")


@dataclass(frozen=True, slots=True)
class Lines:
    """The line (from 1) of every key, array item and table header of one text."""

    by_path: Mapping[Path, int]

    def of(self, *path: str | int) -> int | None:
        """Return the line of this path or of the nearest thing around it; None where not even its root is there."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.by_path:
                return self.by_path[path[:length]]
        return None


def find_lines(text: str) -> Lines:
    """Return the lines of all keys of `text`, which `tomllib.loads` has accepted and whose line ends are `\\n`."""
    scanner = _Scanner(text)
    scanner.walk()
    return Lines(scanner.lines)


class _Scanner:
    """Walk over a valid text once. Invariant: `line` is the line of `text[pos]`."""

    __slots__ = ("_arrays", "line", "lines", "pos", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}  # how many [[headers]] of this path were seen

    def walk(self) -> None:
        table: Path = ()
        while True:
            self._skip_blank()
            if self.pos >= len(self.text):
                return
            if self.text.startswith("[[", self.pos):
                table = self._header(2)
            elif self.text[self.pos] == "[":
                table = self._header(1)
            else:
                self._pair(table)

    def _header(self, brackets: int) -> Path:
        self.pos += brackets
        names = self._key()
        self.pos += brackets
        path: Path = ()
        for position, part in enumerate(names):
            path = (*path, part)
            self.lines.setdefault(path, self.line)
            if brackets == 2 and position == len(names) - 1:
                count = self._arrays.get(path, 0)
                self._arrays[path] = count + 1
                path = (*path, count)
                self.lines[path] = self.line
            elif path in self._arrays:
                path = (*path, self._arrays[path] - 1)
        if brackets == 1:
            self.lines[path] = self.line  # [a] after [a.b]: the table's own header is the better place
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, self.line)
        self.pos += 1  # the equals sign
        self._skip_spaces()
        self._value(path)

    def _key(self) -> list[str]:
        """Read a dotted key and the spaces around it; stop at what follows (`=` or `]`)."""
        parts = []
        while True:
            self._skip_spaces()
            if self.text[self.pos] in "\"'":
                parts.append(self._string())
            else:
                start = self.pos
                while self.text[self.pos] not in _BARE_END:
                    self.pos += 1
                parts.append(self.text[start : self.pos])
            self._skip_spaces()
            if self.text[self.pos] != ".":
                return parts
            self.pos += 1

    def _value(self, path: Path) -> None:
        first = self.text[self.pos]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._items(path)
        elif first == "{":
            self._inline_table(path)
        else:
            while self.pos < len(self.text) and self.text[self.pos] not in _SCALAR_END:
                self.pos += 1

    def _items(self, path: Path) -> None:
        self.pos += 1
        count = 0
        while True:
            self._skip_blank()
            if self.text[self.pos] == "]":
                break
            if self.text[self.pos] == ",":
                self.pos += 1
                continue
            self.lines[*path, count] = self.line
            self._value((*path, count))
            count += 1
        self.pos += 1

    def _inline_table(self, path: Path) -> None:
        self.pos += 1
        while True:
            self._skip_blank()
            if self.text[self.pos] == "}":
                break
            if self.text[self.pos] == ",":
                self.pos += 1
                continue
            self._pair(path)
        self.pos += 1

    def _string(self) -> str:
        """Read any of the four kinds of strings; the value is exact for one-line strings (only they can be keys)."""
        quote = self.text[self.pos]
        if self.text.startswith(quote * 3, self.pos):
            self._long_string(quote)
            return ""
        self.pos += 1
        letters = []
        while self.text[self.pos] != quote:
            letter = self.text[self.pos]
            self.pos += 1
            if letter == "\\" and quote == '"':
                letter = self._escape()
            letters.append(letter)
        self.pos += 1
        return "".join(letters)

    def _escape(self) -> str:
        kind = self.text[self.pos]
        self.pos += 1
        digits = {"x": 2, "u": 4, "U": 8}.get(kind, 0)
        if not digits:
            return _ESCAPES.get(kind, kind)
        code = self.text[self.pos : self.pos + digits]
        self.pos += digits
        return chr(int(code, 16))

    def _long_string(self, quote: str) -> None:
        start = self.pos
        self.pos += 3
        while not self.text.startswith(quote * 3, self.pos):
            self.pos += 2 if quote == '"' and self.text[self.pos] == "\\" else 1
        self.pos += 3
        for _ in range(2):  # up to two quotation marks may stand just inside the closing three
            if self.text.startswith(quote, self.pos):
                self.pos += 1
        self.line += self.text.count("\n", start, self.pos)

    def _skip_spaces(self) -> None:
        while self.pos < len(self.text) and self.text[self.pos] in " \t":
            self.pos += 1

    def _skip_blank(self) -> None:
        while self.pos < len(self.text):
            letter = self.text[self.pos]
            if letter == "#":
                end = self.text.find("\n", self.pos)
                self.pos = len(self.text) if end < 0 else end
            elif letter == "\n":
                self.line += 1
                self.pos += 1
            elif letter in " \t\r":
                self.pos += 1
            else:
                return
