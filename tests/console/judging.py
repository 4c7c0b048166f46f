"""The browser's verifier as a function of files and a policy: in a page of the console, in node where there is one."""

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.console.browser import Browser

import truechimer

MODULE = Path(truechimer.__file__).parent / "console" / "static" / "evidence" / "log_verifier.js"
PROGRAM = """async ({ judge }, bases, cases) => {
  const octets = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const out = [];
  for (const { base, changes, policy, heads, asked } of cases) {
    const files = { ...bases[base], ...changes };
    const names = Object.keys(files).filter((name) => files[name] !== null);
    const read = async (name) => (names.includes(name) ? octets(files[name]) : null);
    out.push(await judge({ names: asked ? null : new Set(names), read, policy: octets(policy), heads }));
  }
  return out;
}"""
NODE = """
const [address, program] = process.argv.slice(-2);
const parts = [];
for await (const part of process.stdin) parts.push(part);
const { bases, cases } = JSON.parse(Buffer.concat(parts).toString());
console.log(JSON.stringify(await (0, eval)(program)(await import(address), bases, cases)));
"""
HAS_NODE = shutil.which("node") is not None
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Case:
    """Files of a base with changes (None: it is not there); `asked`: no names are known, files are asked for."""

    base: str
    policy: bytes
    changes: Mapping[str, bytes | None] = field(default_factory=dict)
    heads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    asked: bool = False


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def told(bases: Mapping[str, Files], cases: Sequence[Case]) -> dict[str, Any]:
    return {
        "bases": {name: {path: text(data) for path, data in files.items()} for name, files in bases.items()},
        "cases": [
            {
                "base": one.base,
                "changes": {path: None if data is None else text(data) for path, data in one.changes.items()},
                "policy": text(one.policy),
                "heads": one.heads,
                "asked": one.asked,
            }
            for one in cases
        ],
    }


def in_page(browser: Browser, bases: Mapping[str, Files], cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Judge in the page that the browser shows, with the module that its console serves."""
    said = json.dumps(told(bases, cases))
    program = (
        f"(async ({{ bases, cases }}) => ({PROGRAM})(await import('/static/evidence/{MODULE.name}'), bases, cases))"
    )
    return list(browser.evaluate(f"{program}({said})"))


def in_node(bases: Mapping[str, Files], cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Judge in node, with the module's file."""
    command = ["node", "--no-warnings", "--input-type=module", "--eval", NODE, "--", MODULE.as_uri(), PROGRAM]
    done = subprocess.run(
        command, input=json.dumps(told(bases, cases)), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))
