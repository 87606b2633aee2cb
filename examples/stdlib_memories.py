"""Print one memory per documented public function and class of Python's standard library, as JSON Lines.

    python -m examples.stdlib_memories | soma produce --key /payload/qualified_name

Real texts to try soma with: no download, nothing but the running interpreter. The lines are sorted by qualified
name and the same on every run of one interpreter. A line is what `soma produce` takes:

    {"namespace": "stdlib", "payload": {"qualified_name": "heapq.merge", "module": "heapq", "kind": "function",
     "signature": "(*iterables, key=None, reverse=False)" or null where the interpreter knows none,
     "text": "heapq.merge: Merge multiple sorted inputs into a single sorted output. ..."}}
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import inspect
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

NAMESPACE = "stdlib"
LONGEST_DOCSTRING = 4_000

# Not documented as modules of their own, or an import would print or open a browser, or what they hold depends on what
# else is installed (setuptools replaces distutils), or belongs to another module (imp is a shadow of importlib).
LEFT_OUT = (
    "antigravity distutils encodings genericpath idlelib imp lib2to3 nt ntpath nturl2path opcode posix posixpath "
    "pydoc_data pyexpat sre_compile sre_constants sre_parse test this turtledemo xxlimited xxlimited_35 xxsubtype"
)

# Only these: most other submodules (asyncio.tasks, json.decoder) are where a package keeps what it exports itself.
DOCUMENTED_SUBMODULES = (
    "collections.abc compression.bz2 compression.gzip compression.lzma compression.zlib compression.zstd "
    "concurrent.futures concurrent.interpreters ctypes.util ctypes.wintypes curses.ascii curses.panel curses.textpad "
    "dbm.dumb dbm.gnu dbm.ndbm dbm.sqlite3 "
    "email.charset email.contentmanager email.encoders email.errors email.generator email.header email.headerregistry "
    "email.iterators email.message email.mime.application email.mime.audio email.mime.base email.mime.image "
    "email.mime.message email.mime.multipart email.mime.nonmultipart email.mime.text email.parser email.policy "
    "email.utils html.entities html.parser http.client http.cookiejar http.cookies http.server "
    "importlib.abc importlib.machinery importlib.metadata importlib.resources importlib.resources.abc importlib.util "
    "logging.config logging.handlers multiprocessing.connection multiprocessing.dummy multiprocessing.managers "
    "multiprocessing.pool multiprocessing.shared_memory multiprocessing.sharedctypes os.path "
    "tkinter.colorchooser tkinter.commondialog tkinter.dialog tkinter.dnd tkinter.filedialog tkinter.font "
    "tkinter.messagebox tkinter.scrolledtext tkinter.simpledialog tkinter.tix tkinter.ttk unittest.mock "
    "urllib.error urllib.parse urllib.request urllib.response urllib.robotparser wsgiref.handlers wsgiref.headers "
    "wsgiref.simple_server wsgiref.types wsgiref.util wsgiref.validate xml.dom xml.dom.minidom xml.dom.pulldom "
    "xml.etree.ElementTree xml.parsers.expat xml.sax xml.sax.handler xml.sax.saxutils xml.sax.xmlreader "
    "xmlrpc.client xmlrpc.server"
)


class Exported(NamedTuple):
    """A documented object under one of the public names that it can be reached by."""

    module: str
    name: str
    value: Any

    @property
    def qualified_name(self) -> str:
        return f"{self.module}.{self.name}"


class _Written:
    """A default value that a signature shows as the given text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def documented_modules() -> Iterator[tuple[str, ModuleType]]:
    """Name and module of every documented module that this platform can import, without output or warnings."""
    top_level = {name for name in sys.stdlib_module_names if not name.startswith("_")}.difference(LEFT_OUT.split())
    for name in sorted(top_level.union(DOCUMENTED_SUBMODULES.split())):
        silence = io.StringIO()
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            try:
                module = importlib.import_module(name)
            except (ImportError, OSError, AttributeError, RuntimeError):
                continue
        yield name, module


def exports(name: str, module: ModuleType) -> Iterator[Exported]:
    """What `__all__` lists, else what the module defines itself or takes from a private module such as `_bisect`."""
    listed = getattr(module, "__all__", None)
    for attribute in sorted(vars(module) if listed is None else listed):
        value = getattr(module, attribute, None)
        if attribute.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
            continue
        if (listed is not None or _is_own(value, name)) and docstring(value):
            yield Exported(name, attribute, value)


def _is_own(value: Any, module: str) -> bool:
    home = getattr(value, "__module__", None) or module
    return module in (home, "builtins") or any(part.startswith("_") for part in home.split("."))


def documented_objects() -> list[Exported]:
    """Every documented function and class once, under its best public name, sorted by qualified name."""
    best: dict[int, Exported] = {}
    for name, module in documented_modules():
        for candidate in exports(name, module):
            rival = best.setdefault(id(candidate.value), candidate)
            best[id(candidate.value)] = min(rival, candidate, key=_preference)
    return sorted(best.values(), key=lambda exported: exported.qualified_name)


def _preference(exported: Exported) -> tuple[bool, bool, bool, int, int, str]:
    """Smallest is best: built-in, under its own name (no alias), where it is defined, the shortest module."""
    own_name, home = (getattr(exported.value, attribute, None) for attribute in ("__name__", "__module__"))
    module = exported.module
    depth = module.count(".")
    return module != "builtins", exported.name != own_name, module != home, depth, len(module), exported.qualified_name


def docstring(value: Any) -> str:
    """The object's own docstring, else that of the class's own `__init__`, cut at 4,000 characters.

    Empty where there is none at all, or only one that repeats the signature (dataclasses, named tuples).
    """
    text = getattr(value, "__doc__", None)
    if not text and inspect.isclass(value) and inspect.isfunction(own_init := vars(value).get("__init__")):
        text = own_init.__doc__
    if not isinstance(text, str):
        return ""
    text = _printable(inspect.cleandoc(text))
    if re.fullmatch(r"\w+(\([^()]*\))?", text):
        return ""
    return text[:LONGEST_DOCSTRING].rstrip()


def signature(value: Any) -> str | None:
    """The call signature with defaults that are the same on every run, or None where there is no telling."""
    try:
        known = inspect.signature(value)
    except (ValueError, TypeError):
        return None
    shown = [one.replace(default=_default(one.default)) for one in known.parameters.values()]
    return _printable(str(known.replace(parameters=shown)))


def _default(value: Any) -> Any:
    """Plain values stay; what has a name is shown by it; the rest (addresses, sets in hash order, paths) as `...`."""
    if value is inspect.Parameter.empty or value is None:
        return value
    if isinstance(value, enum.Enum):
        return _Written(f"{type(value).__name__}.{value.name}")
    if isinstance(value, bool | int | float | str | bytes) and value != sys.executable:
        return value
    if value == ():
        return value
    return _Written(getattr(value, "__qualname__", "..."))


def _printable(text: str) -> str:
    """Without memory addresses, which differ between runs, NUL and lone surrogates, which no store holds."""
    text = re.sub(r" at 0x[0-9A-Fa-f]+", "", text).replace("\0", "")
    return text.encode("utf-8", "replace").decode("utf-8")


def spoken(name: str) -> str:
    """The words of a compound name (`get_close_matches`, `OrderedDict`), because people search for words."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+", " ", name).split()
    return " ".join(parts).lower() if len(parts) > 1 else ""


def memory(exported: Exported) -> dict[str, Any]:
    """One line for `soma produce`."""
    words = spoken(exported.name)
    title = f"{exported.qualified_name} ({words})" if words else exported.qualified_name
    payload = {
        "qualified_name": exported.qualified_name,
        "module": exported.module,
        "kind": "class" if inspect.isclass(exported.value) else "function",
        "signature": signature(exported.value),
        "text": f"{title}: {docstring(exported.value)}",
    }
    return {"namespace": NAMESPACE, "payload": payload}


def memories() -> list[dict[str, Any]]:
    """All memories, sorted by qualified name. Imports most of the standard library: meant for a process of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [memory(exported) for exported in documented_objects()]


def main() -> None:
    """Print them; a reader that closes the pipe early, such as `head`, is no error."""
    try:
        for line in memories():
            print(json.dumps(line))
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it exits; that must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
