"""Fetch programs that cannot be installed beside each other, for `tests/interop/ntp/test_peers.py`.

`python builders/fetch_peers.py DIR` asks apt for the packages (`apt-get download`) and unpacks each into a folder of
its own under DIR; nothing is installed. Then: `TRUECHIMER_PEERS=DIR pytest tests/interop/ntp/test_peers.py -m
acceptance`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("ntpsec", "openntpd", "busybox", "systemd-timesyncd", "python3-ntplib")


def main() -> int:
    """Fetch and unpack."""
    if len(sys.argv) != 2:
        print("fetch_peers: give the folder that is to hold the programs", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as fetched:
            subprocess.run(["apt-get", "-q", "download", package], cwd=fetched, check=True)
            (archive,) = Path(fetched).glob("*.deb")
            (folder / package).mkdir(parents=True, exist_ok=True)
            subprocess.run(["dpkg", "-x", str(archive), str(folder / package)], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
