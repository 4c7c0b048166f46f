"""Fetch NTP servers of others that cannot be installed beside each other, for `tests/interop/ntp/test_peers.py` and
`bench/ntp.py`.

    python builders/fetch_peers.py DIR              this release's packages, for the tests
    python builders/fetch_peers.py --newest DIR     the development release's servers, with the libraries they need

apt is asked (`apt-get download`), each package is unpacked into a folder of its own below DIR, and nothing is
installed. Then: `TRUECHIMER_PEERS=DIR pytest tests/interop/ntp/test_peers.py -m acceptance`, or `python bench/ntp.py
--peers DIR`. The newest servers want a newer C library than this machine's: its loader and all the libraries lie in
`DIR/newest/libraries`, and `bench/ntp.py` starts the servers through it. apt's lists of that release are kept apart,
in a folder that is thrown away; this machine's sources and lists stay as they are. What the release does not carry is
said, and the others are fetched.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("ntpsec", "openntpd", "busybox", "systemd-timesyncd", "python3-ntplib")
SERVERS = ("chrony", "ntpsec", "openntpd", "ntpd-rs")
"""That are compared by the bench."""
RELEASE = "sid"
"""Debian's newest."""
LIBRARIES = "libraries"


def main() -> int:
    """Fetch and unpack; 1 where something is not to be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--newest", action="store_true", help=f"the servers of Debian's {RELEASE}, for the bench")
    parser.add_argument("folder", type=Path, help="the folder that is to hold the programs")
    options = parser.parse_args()
    if options.newest:
        return newest(options.folder / "newest")
    for package in PACKAGES:
        unpack(package, options.folder / package)
    return 0


def newest(folder: Path) -> int:
    """Fetch the servers of the newest release, and the libraries that they need."""
    missing = []
    with tempfile.TemporaryDirectory() as state:
        environment = os.environ | {"APT_CONFIG": str(apart(Path(state)))}
        subprocess.run(["apt-get", "-q", "update"], check=True, env=environment)
        wanted: set[str] = set()
        for server in SERVERS:
            try:
                unpack(server, folder / server, environment)
            except (subprocess.CalledProcessError, ValueError):
                missing.append(server)
                continue
            wanted |= libraries_of(server, environment)
        for library in sorted(wanted):
            unpack(library, folder / LIBRARIES, environment)
    for server in missing:
        print(f"fetch_peers: {server} is not to be had from {RELEASE}", file=sys.stderr)
    return 1 if missing else 0


def apart(state: Path) -> Path:
    """Return a configuration of apt that knows the newest release alone, from where this machine's packages come."""
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.split()[0] for line in said.stdout.splitlines() if line.endswith(" Debian main")]
    if not found:
        raise SystemExit("fetch_peers: no source of Debian's packages here (apt-get update first)")
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "sources.list").write_text(f"deb {found[0]} {RELEASE} main\n", encoding="utf-8")
    # as where they come from, so that apt's own user can read it
    state.chmod(0o755)
    config = state / "apt.conf"
    config.write_text(
        f'Dir::Etc::sourcelist "{state}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::State::lists "{state}/lists";\nDir::Cache "{state}/cache";\n',
        encoding="utf-8",
    )
    return config


def libraries_of(package: str, environment: dict[str, str]) -> set[str]:
    """Return the packages of libraries that a package needs, and those that they need."""
    found: set[str] = set()
    asked = [package]
    while asked:
        said = subprocess.run(
            ["apt-cache", "show", "--no-all-versions", asked.pop()],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        for line in re.findall(r"(?m)^(?:Pre-)?Depends: (.*)$", said.stdout):
            for one in line.split(","):
                name = one.split("|")[0].split()[0].partition(":")[0]
                if name.startswith(("lib", "zlib")) and name not in found:
                    found.add(name)
                    asked.append(name)
    return found


def unpack(package: str, folder: Path, environment: dict[str, str] | None = None) -> None:
    """Fetch one package and unpack it, its version beside it; nothing of it is run."""
    with tempfile.TemporaryDirectory() as fetched:
        subprocess.run(["apt-get", "-q", "download", package], cwd=fetched, check=True, env=environment)
        (archive,) = Path(fetched).glob("*.deb")
        if shutil.which("dpkg") is None:
            raise SystemExit("fetch_peers: dpkg is missing")
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True)
        said = subprocess.run(["dpkg", "-f", str(archive), "Version"], capture_output=True, text=True, check=True)
        (folder / f"{package}.version").write_text(said.stdout, encoding="ascii")


if __name__ == "__main__":
    raise SystemExit(main())
