import re
import shutil
from pathlib import Path

from zoo_builder.store.zoo import Zoo


def test_a_line_per_measure(gengap, refused, small_zoo: Zoo, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    shutil.copytree(small_zoo.root, zoo)
    code, out, _ = gengap("measure", zoo, "--measures", "norms", "inverse-margin", "--workers", "1")
    assert code == 0
    assert re.search(r"weight-norm +64/64 +\d", out)
    assert "the 10th percentile of the training margins is not positive" in out
    assert "unknown measure 'nroms' (did you mean 'norms'?)" in refused("measure", zoo, "--measures", "nroms")
