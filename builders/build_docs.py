"""Rebuild what the documents show of runs, files and types: every figure between markers is made here, none by hand.

    python builders/build_docs.py               rebuild all blocks and pages from what is kept
    python builders/build_docs.py --demo FILE   first keep FILE, what `./truechimer demo --json` printed
    python builders/build_docs.py --sizes       first measure the installed packages again

A block stands between `<!-- NAME: begin ... -->` and `<!-- NAME: end -->`. Made are: what the demo shows (README.md,
from docs/measured/demo.json), the measurements (docs/accuracy.md, from the other files of docs/measured), the
dependencies (docs/adr/0012, from requirements/ and docs/measured/package_sizes.json), and docs/guide/lab-file.md (from
the types), the lists of metrics (docs/guide/metrics.md, from their HELP lines), and the tables and plots of
docs/guide/serving.md. What stands in each block is made by the `*_tables.py` beside this file. A run of the demo that
breaks one of the README's claims is not kept. Tests rebuild all of it and compare.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "builders")]

from demo_tables import broken_claims, demo_block  # noqa: E402
from measured_tables import (  # noqa: E402
    attacks_block,
    backcast_block,
    choices_block,
    cost_block,
    departures_block,
    faults_block,
    measured_block,
    quality_block,
    steering_block,
    steering_front_block,
)
from package_tables import SIZES, dependencies_block, measured_sizes  # noqa: E402
from serving_tables import loads_block, loads_picture, serving_block  # noqa: E402
from type_tables import lab_file_page, metrics_block  # noqa: E402

MEASURED = ROOT / "docs" / "measured"
DEMO = "demo.json"


def keep_demo(file: Path) -> None:
    """Keep a run of the demo, or say which claims it breaks and leave with 1."""
    body = json.loads(file.read_text(encoding="utf-8"))
    if broken := broken_claims(body):
        sys.exit(
            "this run is not kept; it breaks what the README claims:\n" + "\n".join(f"- {words}" for words in broken)
        )
    from truechimer._version import __version__

    kept = {"command": f"./truechimer demo --seed {body['seed']}", "version": __version__, "demo": body}
    _write_json(MEASURED / DEMO, kept)


def ensemble_page(root: Path) -> str:
    """Return docs/ensemble.md with its tables."""
    text = (root / "docs" / "ensemble.md").read_text(encoding="utf-8")
    blocks = {
        "ensemble-quality": quality_block,
        "ensemble-faults": faults_block,
        "ensemble-departures": departures_block,
        "ensemble-choices": choices_block,
    }
    for name, block in blocks.items():
        path = root / "docs" / "measured" / f"{name.replace('-', '_')}.json"
        text = with_block(text, name, block(json.loads(path.read_text(encoding="utf-8"))))
    return text


def with_block(text: str, name: str, body: str) -> str:
    """Return a document with the block `name` replaced; leave with a word where its markers are missing."""
    pattern = re.compile(rf"(<!-- {name}: begin[^\n]*-->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        sys.exit(f"the markers of {name} are missing, or stand twice")
    return pattern.sub(lambda found: f"{found[1]}\n{body}\n\n{found[2]}", text)


def documents(root: Path = ROOT) -> dict[Path, str]:
    """Return each document that is made here, wholly or in part, as it should be."""
    measured = root / "docs" / "measured"
    readme, accuracy, dependencies = (
        root / "README.md",
        root / "docs" / "accuracy.md",
        root / "docs" / "adr" / "0012-dependencies.md",
    )
    metrics = root / "docs" / "guide" / "metrics.md"
    ensemble = root / "docs" / "guide" / "ensemble.md"
    steering = root / "docs" / "guide" / "steering.md"
    serving = root / "docs" / "guide" / "serving.md"
    sources = root / "docs" / "guide" / "sources.md"
    backcast = root / "docs" / "guide" / "backcast.md"
    years = json.loads((measured / "backcast.json").read_text(encoding="utf-8"))
    attacks = json.loads((measured / "ntp_client_attacks.json").read_text(encoding="utf-8"))
    year = json.loads((measured / "steering_year.json").read_text(encoding="utf-8"))
    front = json.loads((measured / "steering_front.json").read_text(encoding="utf-8"))
    speed = json.loads((measured / "scale_speed.json").read_text(encoding="utf-8"))
    kept = json.loads((measured / DEMO).read_text(encoding="utf-8"))
    return {
        readme: with_block(readme.read_text(encoding="utf-8"), "demo", demo_block(kept)),
        accuracy: with_block(accuracy.read_text(encoding="utf-8"), "measured", measured_block(measured)),
        dependencies: with_block(dependencies.read_text(encoding="utf-8"), "dependencies", dependencies_block(root)),
        root / "docs" / "guide" / "lab-file.md": lab_file_page(),
        root / "docs" / "ensemble.md": ensemble_page(root),
        steering: with_block(
            with_block(steering.read_text(encoding="utf-8"), "steering-year", steering_block(year)),
            "steering-front",
            steering_front_block(front),
        ),
        backcast: with_block(backcast.read_text(encoding="utf-8"), "backcast-cost", backcast_block(years)),
        sources: with_block(sources.read_text(encoding="utf-8"), "attacks", attacks_block(attacks)),
        ensemble: with_block(ensemble.read_text(encoding="utf-8"), "cost", cost_block(speed)),
        serving: with_block(
            with_block(serving.read_text(encoding="utf-8"), "serving", serving_block(measured / "ntp_serving.json")),
            "serving-load",
            loads_block(measured / "ntp_loads.json"),
        ),
        serving.parent / "pictures" / "serving-load.svg": loads_picture(measured / "ntp_loads.json"),
        metrics: with_block(
            with_block(metrics.read_text(encoding="utf-8"), "laboratory", metrics_block("laboratory")),
            "chrony",
            metrics_block("chrony"),
        ),
    }


def _write_json(path: Path, body: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Keep what was asked for, then rebuild all."""
    parser = argparse.ArgumentParser(description="rebuild what the documents show of runs, files and types")
    parser.add_argument(
        "--demo", type=Path, metavar="FILE", help="keep this output of `./truechimer demo --json` first"
    )
    parser.add_argument("--sizes", action="store_true", help="measure the installed packages first")
    options = parser.parse_args()
    if options.demo is not None:
        keep_demo(options.demo)
    if options.sizes:
        _write_json(MEASURED / SIZES, measured_sizes(ROOT))
    for path, text in documents().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: rebuilt")


if __name__ == "__main__":
    main()
