"""What a source file imports. A program, because some short texts take the parser hours, all memory, or its life.

    python -I -S imports.py PACKAGE < FILE

prints a list of JSON: full names of all that a module of PACKAGE imports; that of a module may end with that of an
attribute. It fails if the file is no Python. Imports the standard library alone.
"""

import ast
import json
import resource
import sys

SECONDS, BYTES = 20, 2**31
# No file has a longer name, and no source file imports more.
LONGEST, MOST = 1000, 10_000


def imported(source: bytes, package: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if len(alias.name) <= LONGEST}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            start = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join(filter(None, [*start, node.module]))
            if len(module) <= LONGEST:
                names |= {".".join(filter(None, [module, alias.name[:LONGEST]])) for alias in node.names}
    if len(names) > MOST:
        raise ValueError(f"it imports {len(names):,} names")
    return names


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(sorted(imported(sys.stdin.buffer.read(), sys.argv[1]))))
