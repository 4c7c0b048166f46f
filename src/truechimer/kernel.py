"""One decorator for hot numeric functions: machine code where the `fast` extra is installed, the plain function
otherwise.

It does not choose algorithms: one source serves both forms, and a replay must be equal to the last bit in either. Hence
the law of a kernel: only + - * / and sqrt in a written order, explicit loops instead of `np.sum`, no `fastmath`, no
exp, log or pow.

This file alone may look for Numba and name its cache. The cache folder carries a hash of every kernel's source, of
Numba's version and of the processor: Numba itself checks only the outermost function's file, and would go on running
old machine code of a kernel edited in another module. `TRUECHIMER_KERNELS=plain` asks for the plain form.
"""

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def _load_numba() -> Any:
    """Return the numba module with its cache folder named, or None where it is absent or not wanted."""
    if os.environ.get("TRUECHIMER_KERNELS") == "plain":
        return None
    try:
        import numba
    except (ImportError, OSError):
        return None  # OSError: nothing may become machine code here (MemoryDenyWriteExecute, SELinux)
    config: Any = numba.config
    config.CACHE_DIR = str(_cache_folder(numba.__version__))
    return numba


def _cache_folder(numba_version: str) -> Path:
    """Name the machine-code cache by what it depends on: all kernel sources, Numba, the processor."""
    digest = hashlib.sha256(f"{numba_version} {platform.machine()} {_processor()}".encode())
    package = Path(__file__).parent
    for source in sorted(package.rglob("*.py")):
        text = source.read_bytes()
        if b"@kernel" in text:
            digest.update(source.relative_to(package).as_posix().encode() + b"\0" + text)
    name = f"kernels-{digest.hexdigest()[:20]}"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    for parent in (Path(base) / "truechimer", Path(tempfile.gettempdir()) / f"truechimer-{os.getuid()}"):
        try:
            (parent / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(parent / name, os.W_OK) and (parent / name).stat().st_uid == os.getuid():
            return parent / name
    return Path(tempfile.mkdtemp(prefix="truechimer-kernels-"))


def _processor() -> str:
    """Return the processor's model name: machine code made for one may not run on another."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(("model name", "flags", "CPU part")):
                return line
    except OSError:
        pass
    return platform.processor()


_NUMBA = _load_numba()

COMPILED: bool = _NUMBA is not None
"""True where kernels run as machine code."""


def kernel(function: F) -> F:
    """Mark a hot numeric function: compiled without the interpreter lock where Numba is installed, itself otherwise."""
    if _NUMBA is None:
        return function
    compiled: F = _NUMBA.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)(function)
    return compiled
