"""How long the page takes from the browser's navigation to a running clock and painted plots.

    PYTHONPATH=src python bench/first_view.py --limit 1.5 [--runs 7] [--width 390] [--out FILE]

Debian's Chromium is started before and does not count; the page's files come from the console on loopback and are kept
in no cache. The laboratory only answers, with the documents of `console.py` (12 clocks, a month of history). The time
is the page's own `performance.now()`, which begins at the navigation, read two frames after both plots and the clock
are there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from tests.console.browser import a_browser  # noqa: E402

from console import SOURCE, answer  # noqa: E402
from truechimer.daemon.answering.control_socket import ControlSocket  # noqa: E402

WATCH = """
const look = () => {
  const clock = document.querySelector('#clock');
  const drawn = ['#utc-plot canvas', '#deviation-plot canvas'].every((each) => document.querySelector(each)?.width > 0);
  if (clock?.dataset.running !== 'yes' || !drawn) { requestAnimationFrame(look); return; }
  requestAnimationFrame(() => requestAnimationFrame(() => { window.firstViewMs = performance.now(); }));
};
look();
"""


def measure(runs: int, width: int) -> dict[str, Any]:
    """Load the page so many times and return every time."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlSocket(Path(folder) / "run", answer),
        a_browser(Path(folder)) as browser,
    ):
        command = [sys.executable, "-m", "truechimer.console.server", "--lab", folder, "--address", "127.0.0.1"]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment) as console:
            try:
                assert console.stdout is not None
                url = f"http://127.0.0.1:{json.loads(console.stdout.readline())['port']}/"
                browser.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
                browser.go(url, width)  # once before: the console has asked its laboratory by then
                browser.until("window.firstViewMs")
                times = []
                for number in range(runs):
                    browser.go("about:blank", width)
                    browser.go(url, width)
                    times.append(round(browser.until("window.firstViewMs") / 1e3, 3))
                    print(f"run {number + 1}: {times[-1]} s", flush=True)
                assert browser.complaints == []
            finally:
                console.terminate()
                console.wait(10)
    return {"width_px": width, "first_view_s_median": statistics.median(times), "first_view_s_runs": times}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--limit", type=float, help="fail above this many seconds (median of the runs)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = measure(options.runs, options.width)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"median {found['first_view_s_median']} s")
    return int(options.limit is not None and found["first_view_s_median"] > options.limit)


if __name__ == "__main__":
    raise SystemExit(main())
