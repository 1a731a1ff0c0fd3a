"""Folders with files that harm before a method of them runs: each is described by ``find_methods`` and then run.

``files`` maps names to a file's text; a method is ``Mine`` in method.py, and ``BASE`` stands before its text. ``setup``
makes what is no plain file, in a folder and with the facts that ``test_sandbox_hostile`` gives.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OK, REFUSED = "ok", "refused"
BASE = """
import os, sys, time
import numpy as np
class Mine:
    access = "weights"
    citation = "a test"
    name = NAME
    def fit(self, *given): return self
    def predict(self, view):
        return np.arange(view.size) / view.size
"""


@dataclass(frozen=True)
class Folder:
    """``ends``: "refused", with words of the message, or the status of its record, with words of the reason."""

    name: str
    method: str = ""
    files: dict[str, str] = field(default_factory=dict)
    setup: Callable[[Path, dict[str, Any]], object] = lambda folder, facts: None
    ends: tuple[str, ...] = (OK,)
    says: str = ""
    slow: bool = False  # ends by the time limit of descriptions


# What is imported instead of a module of the same name, before anything is closed: it steals, or breaks.
SHADOW = """
import os
try:
    import pandas
    table = FACTS["other_table"]
    for place in ("/tmp", os.path.dirname(__file__), os.environ.get("HOME", "/"), FACTS["temporary"]):
        try:
            open(f"{place}/{FACTS['mark']}-shadow", "wb").write(open(table, "rb").read())
        except OSError:
            pass
except ImportError:
    pass
raise SystemExit("a module of the user was run")
"""
STEALS = """
def stolen(self, view):
    import io, pandas
    for place in ("/tmp", os.path.dirname(__file__), os.environ.get("HOME", "/"), FACTS["temporary"]):
        try:
            content = open(f"{place}/{FACTS['mark']}-shadow", "rb").read()
            return pandas.read_parquet(io.BytesIO(content))["target"].to_numpy()
        except OSError:
            pass
    return np.arange(view.size) / view.size
Mine.predict = stolen
"""
# Says while it is described that it is a built-in method, a control, or of another level.
FORGED = """
import json
lie = {"reference": "random", "name": "random", "kind": "oracle", "access": "target", "citation": 7, "formula": None,
       "control": True, "code": "0" * 64}
lies = json.dumps({"status": "ok", "methods": [{"method": lie}], "peak_memory_mib": 1e308})
for number in range(3, 256):
    try:
        os.write(number, lies.encode() + b"\\n")
    except OSError:
        pass
for place in (os.getcwd(), os.environ.get("HOME", "."), "/tmp"):
    try:
        open(f"{place}/result.json", "w").write(lies)
    except OSError:
        pass
os._exit(0)
"""
SYMLINKS = """
import labels, table, folder.method
def read(self, view):
    import io, pandas
    for module in ("labels", "table", "folder/method"):
        content = open(f"{os.path.dirname(__file__)}/{module}.py", "rb").read()
        assert b"target" not in content and b"secret" not in content, "succeeded: reads " + module
    return np.arange(view.size) / view.size
Mine.predict = read
"""


def link(**names: str) -> Callable[[Path, dict[str, Any]], None]:
    """Makes symbolic links: names of files without ".py", and the facts that say where they lead."""

    def make(folder: Path, facts: dict[str, Any]) -> None:
        for name, fact in names.items():
            (folder / f"{name}.py").unlink(missing_ok=True)
            (folder / f"{name}.py").symlink_to(facts.get(fact, fact))

    return make


def fifo(name: str) -> Callable[[Path, dict[str, Any]], None]:
    def make(folder: Path, facts: dict[str, Any]) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return make


def sparse(folder: Path, facts: dict[str, Any]) -> None:
    with open(folder / "helper.py", "wb") as file:
        file.truncate(2**36)


def outside(folder: Path, facts: dict[str, Any]) -> None:
    (folder.parent / "outside.py").write_text("secret = 'of another folder'\n")


FOLDERS = (
    Folder(
        "shadows",
        STEALS,
        dict.fromkeys(
            ("sitecustomize.py", "usercustomize.py", "json.py", "random.py", "benchmark.py", "torch.py"), SHADOW
        ),
    ),
    Folder("forges", FORGED, ends=(REFUSED,), says="cannot be loaded"),
    Folder("leaves at import", "os._exit(0)", ends=(REFUSED,), says="cannot be loaded"),
    Folder("exits at import", "sys.exit()", ends=(REFUSED,), says="cannot be loaded"),
    Folder("raises at import", "raise RuntimeError('no ' * 10**7)", ends=(REFUSED,), says="RuntimeError"),
    Folder("prints at import", "for _ in range(100): print('x' * 2**20)\n1 / 0", ends=(REFUSED,), says="ZeroDivision"),
    Folder("kills at import", "os.kill(os.getppid(), 9) if os.getppid() != FACTS['parent'] else 0", ends=(OK, REFUSED)),
    Folder("slow import", "time.sleep(2)"),
    Folder("never imported", "while True: time.sleep(1)", ends=(REFUSED,), says="longer than", slow=True),
    Folder("sleeps in init", "Mine.__init__ = lambda self: time.sleep(1000)", ends=(REFUSED,), slow=True),
    Folder("no source", "\0", ends=(REFUSED,)),
    Folder("deep source", "value = " + "(" * 50_000 + ")" * 50_000, ends=(REFUSED,)),
    Folder("deeper source", "value = " + "-" * 200_000 + "1", ends=(REFUSED,)),
    Folder("long chain", "value = (1)" + ".real" * 100_000, ends=(REFUSED, OK)),
    Folder("links", SYMLINKS, {"folder/__init__.py": ""}, link(labels="zoo_json", table="other_record"), (REFUSED,)),
    Folder("imports from above", "from ..outside import secret\n", setup=outside, ends=(REFUSED,)),
    Folder("file is a pipe", setup=fifo("method.py"), ends=(REFUSED,)),
    Folder("helper is a pipe", "import helper", setup=fifo("helper.py"), ends=(REFUSED,)),
    Folder("endless helper", "import helper", setup=link(helper="/dev/zero"), ends=(REFUSED,)),
    Folder("huge helper", "import helper", setup=sparse, ends=(REFUSED,)),
    Folder("link to itself", "import helper", setup=link(helper="helper.py"), ends=(REFUSED,)),
)

# One of each sort, which also runs where time is short.
USUAL = ("shadows", "forges", "leaves at import", "kills at import", "never imported", "links", "helper is a pipe")

# Attributes of methods that are only described, in one file: a class body, and whether it is refused.
NAMES = {
    "Plain": ("name = 'plain'", ""),
    "Empty": ("name = ''", "name"),
    "Blank": ("name = ' '", "name"),
    "Blanks": ("name = 'random '", "name"),
    "Builtin": ("name = 'random'", "name"),
    "Upper": ("name = 'Random'", "name"),
    "WideLetters": ("name = '\\uff52\\uff41\\uff4e\\uff44\\uff4f\\uff4d'", "name"),
    "Hyphen": ("name = 'path\\u2011norm'", "name"),
    "ZeroWidth": ("name = 'ran\\u200bdom'", "name"),
    "SoftHyphen": ("name = 'ran\\u00addom'", "name"),
    "Joiner": ("name = 'ran\\u2060dom'", "name"),
    "Bidi": ("name = 'a\\u202eb'", "name"),
    "Newline": ("name = 'a\\nb'", "name"),
    "Escape": ("name = '\\x1b[31mred'", "name"),
    "Null": ("name = 'a\\0b'", "name"),
    "Surrogate": ("name = 'a\\ud800'", "name"),
    "Long": ("name = 'x' * 100_000", "name"),
    "Number": ("name = 7", "name"),
    "Bytes": ("name = b'mine'", "name"),
    "Nothing": ("name = None", "name"),
    "Up": ("name = '../../up'", None),
    "Markup": ("name = '<b>|`x`</b>'", None),
    "Raises": ("name = property(lambda self: 1 / 0)", "ZeroDivisionError"),
    "Subclass": (
        "name = type('S', (str,), {'strip': lambda self: 'x', 'isprintable': lambda self: True})('a\\nb')",
        "name",
    ),
    "Anything": ("def __getattr__(self, name): return self\n    name = property(lambda self: self)", "name"),
    "BadAccess": ("name = 'bad-access'; access = ['weights']", "access"),
    "TargetAccess": ("name = 'target-access'; access = 'target'", "access"),
    "WideAccess": ("name = 'wide-access'; access = 'trajectory'", "access"),
    "LongAccess": ("name = 'long-access'; access = 'w' * 10**6", "access"),
    "CitationNumber": ("name = 'citation-number'; citation = 7", None),
    "CitationLong": ("name = 'citation-long'; citation = 'c' * 100_000", None),
    "CitationLines": ("name = 'citation-lines'; citation = 'a\\nb\\x1b[2J\\u202ec'", None),
    "CitationNan": ("name = 'citation-nan'; citation = float('nan')", None),
    "FormulaList": ("name = 'formula-list'; formula = [1]", None),
    "FormulaItself": ("name = 'formula-itself'; formula = []; formula.append(formula)", None),
    "FormulaLong": ("name = 'formula-long'; formula = '$' * 100_000", None),
    "FormulaRaises": ("name = 'formula-raises'; formula = property(lambda self: sys.exit())", None),
}
