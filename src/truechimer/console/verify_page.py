"""The verifier as one file: the page of the console's verifier, put together so that it runs when opened from a disk.

It judges nothing. Modules are joined as text: a browser loads no module and no worker from a file beside the page, so
all stands inside it; its own Content-Security-Policy lets it load and ask nothing at all.

Law of the file: nothing is changed in the modules but their lines `import` and the word `export`.
"""

import re
from functools import cache
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
STATIC = HERE / "static"
WORKER = ("sha256.js", "signed_note.js", "log_audit.js", "log_verifier.js", "zip_reader.js", "verify_worker.js")
"""Modules of the verifier's thread, each after those that it imports."""
PAGE = ("verify_form.js", "verify_alone.js")
_IMPORT = re.compile(r'^import [^\n]* from "\./[a-z0-9_]+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def joined(names: tuple[str, ...]) -> str:
    """Return modules as one script."""
    texts = [(STATIC / "evidence" / name).read_text(encoding="utf-8") for name in names]
    return '"use strict";\n' + "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in texts)


@cache
def page() -> str:
    """Return the page."""
    text = (HERE / "templates" / "verify_alone.html").read_text(encoding="utf-8")
    parts = {
        "{{css}}": (STATIC / "page.css").read_text(encoding="utf-8"),
        "{{form}}": form(),
        "{{worker}}": escape(joined(WORKER), quote=False),
        "{{page}}": joined(PAGE),
    }
    for place, part in parts.items():
        text = text.replace(place, part)
    return text


def form() -> str:
    """Return the section of the page in which evidence is chosen and judged."""
    return (HERE / "templates" / "verify_form.html").read_text(encoding="utf-8")
