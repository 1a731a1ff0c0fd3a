"""Runs a command in gengap's Python environment, and first makes that environment where it is missing or out of date.

    python3 .ci/environment.py pytest -k kendall

The environment is ``.venv`` in this clone, with the package installed editable. Under ``CI=true`` it is a folder in the
user's cache that every clone with the same dependencies shares: it holds the dependencies and a ``gengap`` command, and
the clone that runs comes in through PYTHONPATH, so a shared environment never imports another clone's code.

Needs the standard library alone, and parses on Python 3.8 so that an old interpreter gets a message, not a traceback.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = os.environ.get("CI") == "true"
BUILDING = "building"
PAIR = "import torch, torchvision; torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)"


def main(command: list[str]) -> None:
    """Replaces this process by ``command``, run in the environment."""
    if sys.version_info < (3, 11):  # noqa: UP036, this is the check
        sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}; gengap needs 3.11: make PYTHON=python3.11 ...")
    project = read_project()
    key = environment_key(project)
    folder = cache() / f"venv-{key}" if SHARED else ROOT / ".venv"
    prepare(folder, key, project)

    environment = {**os.environ, "VIRTUAL_ENV": str(folder)}
    environment["PATH"] = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", os.defpath)])
    environment.pop("PYTHONHOME", None)
    if SHARED:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        write_metadata(folder)
    os.execvpe(command[0], command, environment)


def read_project() -> dict:
    import tomllib  # not in the Pythons that main() turns away

    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def environment_key(project: dict) -> str:
    """The Python version and a hash of all that decides what gets installed."""
    parts = [project[name] for name in ("dependencies", "optional-dependencies", "scripts")]
    digest = hashlib.sha256(json.dumps([parts, sys.base_prefix]).encode()).hexdigest()
    return f"{sys.version_info.major}.{sys.version_info.minor}-{digest[:12]}"


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gengap"


def state_file(folder: Path) -> Path:
    """Stands beside the environment: its text is the key of a finished one or BUILDING, and it is the lock too."""
    return folder.with_name(folder.name + ".state")


def prepare(folder: Path, key: str, project: dict) -> int:
    """Makes ``folder`` a finished environment.

    Returns:
        A descriptor that holds a shared lock on it; open until the command that uses the environment has ended.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    state = state_file(folder)
    opened = os.open(state, os.O_RDWR | os.O_CREAT, 0o644)
    # Above the standard streams: where one of these is closed, the command's output would go into the state file.
    lock = fcntl.fcntl(opened, fcntl.F_DUPFD, 3)
    os.close(opened)
    os.set_inheritable(lock, True)

    def finished() -> bool:
        return state.read_text() == key and (folder / "bin" / "gengap").exists()

    def hold(kind: int) -> None:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"waiting for another command that makes or uses {folder}")
            fcntl.flock(lock, kind)

    hold(fcntl.LOCK_SH)
    if finished():
        return lock
    hold(fcntl.LOCK_EX)
    if not finished():  # another command may have made it in the meantime
        if SHARED:
            remove_unused(folder)
        afresh = state.read_text() == BUILDING
        state.write_text(BUILDING)
        make(folder, project, afresh)
        state.write_text(key)
    hold(fcntl.LOCK_SH)
    return lock


def remove_unused(folder: Path) -> None:
    """Removes the environments beside ``folder`` that no running command has locked: each takes 6 GB."""
    for other in folder.parent.glob("venv-*.state"):
        old = other.with_suffix("")
        with other.open("r+") as lock:
            if old == folder or not old.exists():
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            other.write_text(BUILDING)
            shutil.rmtree(old)


def make(folder: Path, project: dict, afresh: bool) -> None:
    """Creates the environment, or brings a finished one up to date."""
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit(
            f"{sys.executable} cannot make virtual environments: install Debian's python3-venv "
            "(apt-get install python3-venv), or name another Python: make PYTHON=/path/to/python3.11 ..."
        )
    tell(f"setting up {folder if SHARED else folder.name}: 2 to 5 minutes, 6 GB")
    if afresh:
        shutil.rmtree(folder, ignore_errors=True)
    python = str(folder / "bin" / "python")
    base = getattr(sys, "_base_executable", sys.executable)  # sys.executable may lie in the folder itself
    run(base, "-m", "venv", str(folder))
    packages = requirements(project, "dev") if SHARED else ["--editable", f"{ROOT}[dev]"]
    run(python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages)
    if SHARED:
        module, function = project["scripts"]["gengap"].split(":")
        script = folder / "bin" / "gengap"
        # Guarded, because a spawned worker process imports the script that started it.
        start = f'if __name__ == "__main__":\n    sys.exit({function}())\n'
        script.write_text(f"#!{python}\nimport sys\n\nfrom {module} import {function}\n\n{start}")
        script.chmod(0o755)
    if subprocess.run([python, "-c", PAIR], cwd=folder).returncode:
        sys.exit(
            f"the torch and torchvision that pip put into {folder} do not fit together (see above). A find-links "
            "folder or an extra index may have supplied one of them: look at `pip config list` and run make again."
        )


def requirements(project: dict, extra: str) -> list[str]:
    """What gengap and one of its extras need, references to its other extras written out."""
    extras = project["optional-dependencies"]
    own = {f"{project['name']}[{name}]": rows for name, rows in extras.items()}
    rows = list(extras[extra])
    while mentioned := [row for row in rows if row in own]:
        rows = [row for row in rows if row not in own] + [row for name in mentioned for row in own[name]]
    return project["dependencies"] + rows


def write_metadata(folder: Path) -> None:
    """Writes gengap.egg-info into the clone, from which importlib.metadata reads the version of what is imported."""
    written = ROOT / "gengap.egg-info" / "PKG-INFO"
    if not written.exists() or written.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
        run(str(folder / "bin" / "python"), "-c", "import setuptools; setuptools.setup()", "--quiet", "egg_info")


def run(*command: str) -> None:
    """``command`` inherits the lock, so that one which outlives this process keeps the next from starting over it."""
    status = subprocess.run(command, cwd=ROOT, close_fds=False).returncode
    if status:
        sys.exit(f"{' '.join(command)} failed with exit status {status} (see above)")


def tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
