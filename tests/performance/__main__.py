"""Runs every bench_*.py in this folder, each in its own process: memory and threads of one do not affect another.

python tests/performance [PART OF A NAME ...]
"""

import subprocess
import sys
from pathlib import Path


def main(wanted: list[str]) -> int:
    """Returns the number of benchmarks that failed."""
    scripts = sorted(Path(__file__).parent.glob("bench_*.py"))
    if wanted:
        scripts = [script for script in scripts if any(part in script.name for part in wanted)]
    failures = 0
    for script in scripts:
        print(f"\n== {script.stem.removeprefix('bench_')}", flush=True)
        failures += subprocess.run([sys.executable, str(script)]).returncode != 0
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
