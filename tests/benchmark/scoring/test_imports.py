import pkgutil
import subprocess
import sys

import benchmark.scoring


def test_scoring_imports_neither_torch_nor_pandas():
    modules = [f"benchmark.scoring.{module.name}" for module in pkgutil.iter_modules(benchmark.scoring.__path__)]
    assert "benchmark.scoring.kendall" in modules
    program = f"import sys, benchmark.scoring, {', '.join(modules)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    packages = {name.partition(".")[0] for name in loaded}
    assert not packages & {"torch", "pandas", "sklearn", "zoo_builder", "baselines"}
