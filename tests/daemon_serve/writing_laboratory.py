"""A process that stands for a laboratory: it writes a fresh page a thousand times a second, until it is killed.

Arguments: the page's file, bound growth (s/s), silence (s). It says "writing" once the first page is there.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.daemon_serve.doors import a_live_page

from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageWriter
from truechimer.serve.served_time import tai_fs_at


def main() -> None:
    """Write until killed."""
    path, growth, silence_s = sys.argv[1:]
    clocks = HostClocks()
    writer = PageWriter(Path(path), boot_id=clocks.boot_id())
    first = a_live_page(bound_s=1e-5, bound_growth=float(growth))
    said = False
    while True:
        raw_ns = clocks.raw_ns()
        writer.publish(
            replace(
                first,
                anchor_raw_ns=raw_ns,
                anchor_tai_fs=tai_fs_at(first, raw_ns),
                valid_until_raw_ns=raw_ns + round(float(silence_s) * 1e9),
                written_raw_ns=raw_ns,
            )
        )
        if not said:
            print("writing", flush=True)
            said = True
        time.sleep(0.001)


if __name__ == "__main__":
    main()
