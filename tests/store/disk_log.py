"""What a disk may hold after a power cut, made from the log of `faulty_disk.c`.

It opens nothing. A write is on the disk only once its file was synced; until then each of its sectors of 512 bytes may
be there or not, in any combination (so the last page may be torn). A name is in its folder only once the folder was
synced. After a failed sync the kernel believes its pages clean (they are never written again by a later sync): what
they held is there or not, for good.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SECTOR = 512
_HEAD = struct.Struct("<cHqQ")


@dataclass(frozen=True, slots=True)
class Line:
    """A call that took effect: `W`rite, `T`runcate, `S`ync, `F`ailed sync, folder `D` synced or `G` not, `C`reate,
    `U`nlink, `R`ename.
    """

    kind: str
    path: str
    offset: int
    data: bytes


def lines_of(log: bytes) -> Iterator[Line]:
    """Yield the lines of a log."""
    at = 0
    while at < len(log):
        kind, path, offset, size = _HEAD.unpack_from(log, at)
        at += _HEAD.size
        yield Line(kind.decode(), log[at : at + path].decode(), offset, log[at + path : at + path + size])
        at += path + size


@dataclass(slots=True, eq=False)
class _File:
    """A file: what is on the disk, and the calls since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Line] = field(default_factory=list)

    def settle(self, rng: Random | None, kept: float = 1.0) -> None:
        """Bring the pending calls to the disk: all of them, or a part of their sectors."""
        for line in self.pending:
            if line.kind == "T":
                if rng is None or rng.random() < kept:
                    _cut(self.durable, line.offset)
                continue
            at = line.offset
            while at < line.offset + len(line.data):
                end = min((at // SECTOR + 1) * SECTOR, line.offset + len(line.data))
                if rng is None or rng.random() < kept:
                    if len(self.durable) < end:
                        _cut(self.durable, end)
                    self.durable[at:end] = line.data[at - line.offset : end - line.offset]
                at = end
        self.pending = []


def _cut(content: bytearray, size: int) -> None:
    """Make `content` so long."""
    del content[size:]
    content.extend(bytes(size - len(content)))


class Disk:
    """A folder on a disk, with what has reached the disk and what has not."""

    def __init__(self, rng: Random, at_first: Mapping[str, bytes] | None = None) -> None:
        """Begin with files that are on the disk."""
        self._rng = rng
        self._now = {name: _File(bytearray(data)) for name, data in (at_first or {}).items()}
        self._durable = dict(self._now)
        self._names: list[tuple[str, str, _File | str]] = []
        self.acknowledged = bytearray()
        """What was written to the file `acks`: what the process said to others, which no power cut takes back."""

    def apply(self, line: Line) -> None:
        """Let a call take effect."""
        name = os.path.basename(line.path)
        if name == "acks":
            self.acknowledged += line.data if line.kind == "W" else b""
            return
        match line.kind:
            case "C":
                self._now[name] = _File()
                self._names.append(("C", name, self._now[name]))
            case "W" | "T" if name in self._now:
                self._now[name].pending.append(line)
            case "S" if name in self._now:
                self._now[name].settle(None)
            case "F" if name in self._now:
                self._now[name].settle(self._rng, self._rng.choice((0.0, 0.5, 1.0)))
            case "U":
                self._now.pop(name, None)
                self._names.append(("U", name, ""))
            case "R":
                new = os.path.basename(line.data.decode())
                if name in self._now:
                    self._now[new] = self._now.pop(name)
                self._names.append(("R", name, new))
            case "D":
                self._settle_names(1.0)
            case _:
                pass

    def _settle_names(self, kept: float) -> None:
        for kind, name, what in self._names:
            if self._rng.random() >= kept:
                continue
            if kind == "C" and isinstance(what, _File):
                self._durable[name] = what
            elif kind == "U":
                self._durable.pop(name, None)
            elif kind == "R" and name in self._durable:
                self._durable[str(what)] = self._durable.pop(name)
        self._names = []

    def seen(self) -> dict[str, bytes]:
        """Return what processes see now, synced or not."""
        out = {}
        for name, file in self._now.items():
            copy = _File(bytearray(file.durable), list(file.pending))
            copy.settle(None)
            out[name] = bytes(copy.durable)
        return out

    def cut(self) -> dict[str, bytes]:
        """Cut the power: return what the disk holds now, by chance as far as it was not synced."""
        self._settle_names(self._rng.choice((0.0, 0.5, 1.0)))
        for file in set(self._durable.values()):
            file.settle(self._rng, self._rng.choice((0.0, 0.1, 0.5, 0.9, 1.0)))
        return {name: bytes(file.durable) for name, file in self._durable.items()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder that holds these files."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
