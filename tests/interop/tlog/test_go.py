"""Go's own checksum-database packages read our logs: notes, tiles, entries, inclusion and consistency."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.evidence.logs import LOG, Tree, tree_of

from truechimer.evidence.cosignature import public_key
from truechimer.evidence.log import edge_of
from truechimer.evidence.merkle import root_of
from truechimer.evidence.tiles import tiles_of

pytestmark = [pytest.mark.slow, pytest.mark.needs_go]
SIZES = (0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000)
MODULES = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb")
Judge = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Our few lines around Debian's golang-golang-x-mod-dev, built once."""
    if not MODULES.is_dir():
        pytest.skip(f"{MODULES} is not there: apt-get install golang-golang-x-mod-dev")
    place = tmp_path_factory.mktemp("go")
    program = place / "judge"
    environment = {
        **os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(place / "cache"),
    }  # fmt: skip
    source = Path(__file__).with_name("judge.go")
    subprocess.run(["go", "build", "-o", program, source], check=True, env=environment, timeout=300)
    return lambda *arguments: subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
    )


def written(tree: Tree, folder: Path) -> Path:
    """The log as files: exactly the tiles of its size."""
    for tile in tiles_of(tree.edge.size):
        file = folder / tile.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tree.tiles[tile])
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint").write_bytes(tree.note("w1"))
    return folder


def root_at(tree: Tree, size: int) -> str:
    """The older root, from the tiles of that time."""
    fetch = tree.reader(size)._fetch
    return edge_of(size, lambda tile: fetch(tile) if tile.level >= 0 else bytes(2 * tile.width)).root.hex()


def test_logs_of_every_size_verify_and_a_flipped_bit_is_found(judge: Judge, tmp_path: Path) -> None:
    key = public_key(LOG).text
    for size in SIZES:
        tree = tree_of(size)
        folder = written(tree, tmp_path / str(size))
        olds = [f"{old}:{root_at(tree, old)}" for old in (1, 128, 256, 65_280) if 0 < old < size]
        told = judge(folder, key, *olds)
        assert (told.returncode, told.stdout) == (0, f"ok {size}\n"), (size, told.stdout, told.stderr)
    for path in ("checkpoint", "tile/0/001", "tile/1/000.p/1", "tile/entries/000", "tile/2/000.p/1"):
        folder = tmp_path / ("70000" if path == "tile/2/000.p/1" else "257" if path.endswith(".p/1") else "65537")
        file = folder / path
        before = file.read_bytes()
        file.write_bytes(before[:-9] + bytes((before[-9] ^ 4,)) + before[-8:])
        assert judge(folder, key).returncode == 1, path
        file.write_bytes(before)


def test_an_older_root_that_is_not_ours_is_refused(judge: Judge, tmp_path: Path) -> None:
    folder = written(tree_of(300), tmp_path / "log")
    assert judge(folder, public_key(LOG).text, f"128:{root_of([bytes(32)]).hex()}").returncode == 1
