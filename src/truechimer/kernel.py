"""One decorator for hot numeric functions: machine code where the `fast` extra is installed, the plain function
otherwise.

It does not choose algorithms: one source serves both forms, and a replay must be equal to the last bit in either. Hence
the law of a kernel: only + - * / and sqrt in a written order, explicit loops instead of `np.sum`, no `fastmath`, no
exp, log or pow.

This file alone may look for Numba and name its cache. The cache folder of a module's kernels carries a hash of that
module, of every module of the package that it imports, directly or not, of Numba's version and of the processor: Numba
itself checks only the outermost function's file, and would go on running old machine code of a kernel, or an old
constant, edited in another module. Kernels that import nothing of what was edited are not made anew.

`TRUECHIMER_KERNELS=plain` asks for the plain form. `later` asks for the plain form until `use_machine_code` is called:
whoever must be at work at once (`up`) neither waits for Numba to be read into memory nor, after an upgrade, half a
minute for the compiler, and the bits are the same. `alone` is for a process that runs kernels and little else: Numba
looks for SciPy and cffi, which no kernel here uses, and reading them takes longer than reading the machine code; such a
process can import neither.
"""

import functools
import hashlib
import itertools
import os
import platform
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_MODE = os.environ.get("TRUECHIMER_KERNELS", "")
_NOT_FOR_KERNELS = ("scipy", "cffi")


def _load_numba() -> Any:
    """Return the numba module, or None where it is absent or not wanted."""
    if _MODE == "plain":
        return None
    if _MODE == "alone":
        for name in _NOT_FOR_KERNELS:
            sys.modules.setdefault(name, cast("ModuleType", None))  # "there is none" in the import system's words
    try:
        import numba
    except (ImportError, OSError):
        return None  # OSError: nothing may become machine code here (MemoryDenyWriteExecute, SELinux)
    _draw_names()
    return numba


def _draw_names() -> None:
    """Let functions compiled by this process have names that no other process gives.

    Numba tells functions of one name and one type apart by a number that counts from 1 in each process, and what is
    read from the cache was compiled in many. Where two of them agree in all three, the first one loaded runs for both:
    `np.sort` in the place of `np.argsort`, whose orders are then the values themselves. A count that begins at random
    keeps them apart.
    """
    from numba.core.bytecode import FunctionIdentity

    identity: Any = FunctionIdentity
    identity._unique_ids = itertools.count(int.from_bytes(os.urandom(6)) << 20)  # noqa: SLF001


_PACKAGE = Path(__file__).parent
_IMPORTS = re.compile(
    rb"^[ \t]*(?:from[ \t]+(truechimer[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)"
    rb"|import[ \t]+(truechimer[^\n]*)|from[ \t]+(\.))",
    re.MULTILINE,
)


def sources_of(module: str, *, package: Path = _PACKAGE) -> dict[str, bytes]:
    """Return the text of a module of the package and of all that it imports of the package, directly or not, by path.

    A kernel is made of its own text, of the kernels that it calls and of the constants that it names: all of them come
    by an import. For a module outside the package, or one that imports in a way not understood here: every source.
    """
    found: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        path = _file_of(waiting.pop(), package)
        if path is None:
            return {one.relative_to(package).as_posix(): one.read_bytes() for one in sorted(package.rglob("*.py"))}
        key = path.relative_to(package).as_posix()
        if key in found:
            continue
        found[key] = path.read_bytes()
        text = re.sub(rb"#[^\n]*", b"", found[key]).replace(b"\\\n", b" ")
        for place, names, plain, dot in _IMPORTS.findall(text):
            if dot:
                waiting.append("")
            elif plain:
                waiting += [one.split()[0] for one in plain.decode().split(",")]
            else:
                # each name is a module of that place, or stands in the place's own file
                for one in names.decode().strip("() \t\n\r").split(","):
                    if one.split():
                        inner = f"{place.decode()}.{one.split()[0]}"
                        waiting.append(inner if _file_of(inner, package) is not None else place.decode())
    return found


def _file_of(module: str, package: Path) -> Path | None:
    """Return the file of a module of the package, None where there is none."""
    first, *rest = module.split(".")
    if first != "truechimer":
        return None
    place = package.joinpath(*rest)
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _cache_folder(module: str, numba_version: str) -> Path:
    """Name the machine-code cache of a module's kernels by what it depends on: their sources, Numba, the processor."""
    digest = hashlib.sha256(f"{numba_version} {platform.machine()} {_processor()}".encode())
    for name, text in sorted(sources_of(module).items()):
        digest.update(name.encode() + b"\0" + text)
    name = f"kernels-{module.rpartition('.')[2]}-{digest.hexdigest()[:20]}"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    for parent in (Path(base) / "truechimer", Path(tempfile.gettempdir()) / f"truechimer-{os.getuid()}"):
        try:
            (parent / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(parent / name, os.W_OK) and (parent / name).stat().st_uid == os.getuid():
            return parent / name
    return Path(tempfile.mkdtemp(prefix="truechimer-kernels-"))


@functools.cache
def _processor() -> str:
    """Return the processor's model name: machine code made for one may not run on another."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(("model name", "flags", "CPU part")):
                return line
    except OSError:
        pass
    return platform.processor()


_NUMBA = None if _MODE == "later" else _load_numba()

COMPILED: bool = _NUMBA is not None
"""True where kernels run as machine code: from the start, or from `use_machine_code` on."""


def foreign(name: str, returns: str, *takes: str) -> Any:
    """Return a function of the C library for kernels to call, or None where nothing is compiled. Types are NumPy's
    letters: `i4`, `u4`, `i8`, `u8` (an address is `u8`).

    It is named, not pointed to: machine code that holds an address could not be kept for the next process.
    """
    if _NUMBA is None:
        return None
    types = {"i4": _NUMBA.types.int32, "u4": _NUMBA.types.uint32, "i8": _NUMBA.types.int64, "u8": _NUMBA.types.uint64}
    return _NUMBA.types.ExternalFunction(name, types[returns](*(types[each] for each in takes)))


class _Later:
    """A kernel that runs as plain Python until its machine code is ready. It notes what it was called with from
    outside: that is what machine code will be made for.
    """

    def __init__(self, function: Callable[..., Any], *, counts_references: bool = True) -> None:
        self.function = function
        self.counts_references = counts_references
        self.called_with: tuple[Any, ...] | None = None
        self.machine_code: Any = None
        self.run: Callable[..., Any] | None = None
        functools.update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """Run it in the form that is ready."""
        if self.run is None and COMPILED:
            self.run = _ready(self)
        if self.run is not None:
            return self.run(*arguments)
        if self.called_with is None and sys._getframe(1).f_code not in _codes:  # noqa: SLF001 - who calls it
            self.called_with = arguments
        return self.function(*arguments)


_later: list[_Later] = []
_codes: set[CodeType] = set()
_switching = threading.Lock()


def kernel(function: F) -> F:
    """Mark a hot numeric function: compiled without the interpreter lock where Numba is installed, itself otherwise."""
    if _MODE == "later":
        marked = _Later(function)
        _later.append(marked)
        _codes.add(function.__code__)
        return cast("F", marked)
    if _NUMBA is None:
        return function
    return cast("F", _compiled(function))


def borrowing_kernel(function: F) -> F:
    """Mark a kernel that makes no array and keeps none: it borrows those of its caller, who holds them meanwhile. Numba
    then counts no references, which are two atomic instructions for each array of each argument of each call.
    """
    if _MODE == "later":
        marked = _Later(function, counts_references=False)
        _later.append(marked)
        _codes.add(function.__code__)
        return cast("F", marked)
    if _NUMBA is None:
        return function
    return cast("F", _compiled(function, counts_references=False))


def use_machine_code(*, may_go_on: Callable[[], bool] = lambda: True) -> None:
    """Make machine code for the kernels that ran as plain Python so far, or read what was kept of it, then run it. It
    takes the caller's thread: kernels go on as plain Python in the others meanwhile. Again is harmless. A kernel that
    nobody has called yet follows at its first call.

    `may_go_on` is asked between two kernels: False leaves all of them plain.
    """
    global _NUMBA, COMPILED  # noqa: PLW0603 - a process runs one form
    if _MODE != "later" or COMPILED:
        return
    with _switching:
        if _NUMBA is None:
            _NUMBA = _load_numba()
        if _NUMBA is None:
            return
        called = [(marked, marked.called_with) for marked in _later if marked.called_with is not None]
        _prepare(_reached(marked for marked, _ in called))
        for marked, arguments in called:
            if not may_go_on():
                return
            marked.machine_code.compile(tuple(_NUMBA.typeof(each) for each in arguments))
        for marked, _ in called:
            marked.run, marked.called_with = marked.machine_code, None
        COMPILED = True


def _ready(marked: _Later) -> Callable[..., Any]:
    """Return the compiled form of a kernel at its first call."""
    with _switching:
        _prepare(_reached([marked]))
    return cast("Callable[..., Any]", marked.machine_code)


def _reached(called: Iterable[_Later]) -> list[_Later]:
    """Return the kernels that stand in the modules of kernels that were called, and in those which these name, as far
    as they have no compiled form yet.

    What was called has a module that is whole. One that is just being imported, perhaps by another thread, has not:
    kernels further down in it could not be found by those above.
    """
    found: list[_Later] = []
    waiting = list(called)
    while waiting:
        one = waiting.pop()
        if one.machine_code is None and one not in found:
            found.append(one)
            waiting += [value for value in one.function.__globals__.values() if isinstance(value, _Later)]
    return found


def _compiled(function: Callable[..., Any], *, counts_references: bool = True) -> Any:
    """Return Numba's form of a function; nothing is compiled before its first call."""
    assert _NUMBA is not None
    config: Any = _NUMBA.config
    checked = " with bounds checks" if config.BOUNDSCHECK else ""  # NUMBA_BOUNDSCHECK: Numba's own cache mixes them up
    config.CACHE_DIR = str(_cache_folder(function.__module__, f"{_NUMBA.__version__}{checked}"))
    further = {} if counts_references else {"_nrt": False}
    return _NUMBA.njit(cache=True, nogil=True, error_model="numpy", fastmath=False, **further)(function)


def _prepare(wanted: list[_Later]) -> None:
    """Give kernels their compiled forms. Numba takes what a kernel calls from the names of its module: so each is
    compiled over a copy of them in which kernels stand for their own compiled forms.
    """
    copies = []
    for marked in wanted:
        plain = marked.function
        names = dict(plain.__globals__)
        copied = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__)
        copied.__qualname__, copied.__module__ = plain.__qualname__, plain.__module__  # by these it is kept
        marked.machine_code = _compiled(copied, counts_references=marked.counts_references)
        copies.append(names)
    for names in copies:
        names.update({name: value.machine_code for name, value in names.items() if isinstance(value, _Later)})
