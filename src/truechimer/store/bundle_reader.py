"""The lines that make the stranger's verifier a program: reading a folder or a zip file, and saying what was found.

Together with `evidence.verifier` it is the `verify.py` of every bundle (`program`). It decides nothing. It runs without
truechimer; keep it to the standard library.

Exit status: 0 all as signed; 1 something is not; 2 it could not be judged.
"""

import argparse
import pathlib
import sys
import time
import zipfile

from truechimer.evidence.verifier import Outcome, Unverified, verified

MOST_READ = 1 << 28
NEEDED = """
import importlib.util
import sys

if importlib.util.find_spec("cryptography") is None:
    print(
        "verify.py checks signatures with the Python package `cryptography`, which is not installed here, and judges "
        "nothing without it; run: python3 -m pip install cryptography, or open verify.html in a browser",
        file=sys.stderr,
    )
    raise SystemExit(2)
"""
"""Stands before the verifier in a bundle: a stranger's Python may lack the one package that it needs."""


def shown(outcome: "Outcome") -> str:
    """Say what was found."""
    head = outcome.head
    lines = [f"log        {head.origin}", f"checkpoint {head.size} entries, root {head.root.hex()}"]
    for name, seconds in sorted(outcome.witnessed.items()):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(seconds, 1 << 37)))
        lines.append(f"witnessed  by {name}, which says at {stamp}")
    if not outcome.witnessed:
        lines.append("UNWITNESSED: nobody but the log itself vouches for this checkpoint")
    lines += [f"FAULT      {one}" for one in outcome.faults[:20]]
    if len(outcome.faults) > 20:
        lines.append(f"FAULT      and {len(outcome.faults) - 20} more")
    if outcome.first_bad is not None:
        lines.append(f"FIRST BAD  entry {outcome.first_bad}")
    else:
        lines.append(f"ok         {outcome.entries} entries are what was signed")
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in "\n".join(lines))


def main() -> int:
    """Verify the bundle that this file is in, or another one."""
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Verify a bundle of evidence, or a whole log, offline.")
    parser.add_argument(
        "bundle", nargs="?", type=pathlib.Path, default=here, help="a folder or .zip (default: where this is)"
    )
    parser.add_argument("--policy", type=pathlib.Path, help="YOUR policy: whose logs and witnesses you believe")
    options = parser.parse_args()
    try:
        if options.bundle.is_file():
            archive = zipfile.ZipFile(options.bundle)
            sizes = {one.filename: one.file_size for one in archive.infolist()}
            names = list(sizes)

            def read(name: str) -> "bytes | None":
                return archive.read(name) if sizes.get(name, MOST_READ) < MOST_READ else None

        else:
            names = [one.relative_to(options.bundle).as_posix() for one in options.bundle.rglob("*") if one.is_file()]

            def read(name: str) -> "bytes | None":
                path = options.bundle / name
                return path.read_bytes() if path.is_file() and path.stat().st_size < MOST_READ else None

        policy = options.policy.read_bytes() if options.policy else read("policy") or b""
        outcome = verified(names, read, policy)
    except Unverified as error:
        print(f"NOT BELIEVED: {error}")
        return 1
    except (OSError, zipfile.BadZipFile) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    if options.policy is None:
        print("judged by the policy IN THE BUNDLE, which proves nothing by itself: use --policy with one of your own")
    print(shown(outcome))
    return 0 if outcome.first_bad is None and not outcome.faults else 1


def program() -> str:
    """Return the text of a bundle's `verify.py`: the verifier, and this file without what needs truechimer."""
    from truechimer.evidence import verifier

    texts = [pathlib.Path(str(file)).read_text(encoding="utf-8") for file in (verifier.__file__, __file__)]
    reader, _, _ = texts[1].partition("def program()")
    lines = [line for line in reader.splitlines(keepends=True) if not line.startswith("from truechimer.")]
    says, mark, rest = texts[0].partition("\nimport base64\n")
    return (
        says
        + NEEDED
        + mark
        + rest
        + "\n\n"
        + "".join(lines)
        + 'if __name__ == "__main__":\n    raise SystemExit(main())\n'
    )


if __name__ == "__main__":
    raise SystemExit(main())
