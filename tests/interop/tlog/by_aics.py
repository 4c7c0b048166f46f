"""aics-tlog, a third implementation, on our logs; by hand, since it asks for Python 3.12 (3.11 runs it, too).

    python -m pip install --target PLACE --no-deps --ignore-requires-python aics-tlog
    PYTHONPATH=src:.:PLACE python -m tests.interop.tlog.by_aics

It judges the note with a witness, then every tile and every entry bundle, of each size; then the same with one byte
changed. It prints one line a size, and ends with status 1 where it and we differ.
"""

import tempfile
from pathlib import Path

from tests.evidence.logs import LOG, WITNESSES, tree_of
from tests.interop.tlog.test_go import SIZES, written

from truechimer.evidence.cosignature import public_key


def main() -> int:
    """Run all sizes."""
    import aics_tlog as theirs
    from aics_tlog.verified import audit_tiles

    log, witness = (theirs.parse_vkey(public_key(key).text) for key in (LOG, WITNESSES["w1"]))
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            tree = tree_of(size)
            folder = written(tree, Path(name) / "log")
            note = theirs.parse_note((folder / "checkpoint").read_text(encoding="utf-8"))
            told = theirs.verify_checkpoint(note, log, [witness], 1)
            assert told.ok, told
            found = audit_tiles(theirs.FileSystemTileReader(folder), size, tree.edge.root)
            print(size, told.ok, found)
            if size == 0:
                continue
            file = folder / ("tile/entries/000" if size > 255 else f"tile/entries/000.p/{size}")
            file.write_bytes(file.read_bytes()[:-1] + b"!")
            try:
                audit_tiles(theirs.FileSystemTileReader(folder), size, tree.edge.root)
            except (theirs.TileMissingError, theirs.TileVerificationError) as error:
                print("  one byte changed:", str(error)[:90])
            else:
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
