"""The form of a manifest, which anybody may have written: types, names and paths of what gengap reads in it."""

import math
import re
from typing import Any

from zoo_builder.strict_toml import readable

_PART = {"schema", "name", "first_run", "runs", "rows", "population", "engines", "seconds", "files"}
# Names become names of files and folders.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_MOST = 2**53


def check_manifest(manifest: dict[str, Any]) -> None:
    """Raises ValueError, in one line, if a value is not what gengap writes or an importer may write."""
    _need(_is_text(manifest.get("name"), 100), "name", "a short text that can be printed")
    _need(isinstance(manifest.get("complete"), bool), "complete", "true or false")
    built = "recipe" in manifest
    for key in ("recipe", "data", "versions", "architectures") if built else ("source",):
        _need(isinstance(manifest.get(key), dict), key, "an object")
    _need(isinstance(manifest.get("architectures", {}), dict), "architectures", "an object")
    for key, value in manifest.get("source", {}).items():
        _need(_is_text(key, 100), "source", "an object with short names")
        _need(_is_number(value) or _is_text(value, 10_000, lines=True), f"source {key}", "a text or a number")
    _check_data(manifest.get("data", {}), built)
    _check_plan(manifest.get("plan", []))
    parts: Any = manifest.get("parts")
    _need(isinstance(parts, list) and bool(parts or not manifest["complete"]), "parts", "a list")
    for part in parts:
        check_part(part)


def check_part(part: Any) -> None:
    """Raises ValueError, in one line, if ``part`` is not ``Part.to_json``, or names a file of another place."""
    _need(isinstance(part, dict) and part.keys() <= _PART, "a part", f"an object of {', '.join(sorted(_PART))}")
    name: Any = part.get("name")
    _need(isinstance(name, str) and bool(_NAME.fullmatch(name)), "the name of a part", "a plain name")
    for key, least in (("first_run", 0), ("runs", 1), ("rows", 1)):
        _need(_is_count(part.get(key), least), f"{name} {key}", f"a whole number from {least} on")
    _need(part["rows"] >= part["runs"], f"{name} rows", "at least one for each run")
    _need(_is_text(part.get("population", ""), 100), f"{name} population", "a short text")
    seconds, engines = part.get("seconds", 0.0), part.get("engines", [])
    files: Any = part.get("files")
    _need(_is_number(seconds) and seconds >= 0, f"{name} seconds", "a number from 0 on")
    _need(isinstance(engines, list) and all(_is_text(e, 200) for e in engines), f"{name} engines", "a list of texts")
    _need(isinstance(files, dict) and len(files) <= 100, f"{name} files", "an object")
    for path, file in files.items():
        _need(_is_path(path, name), f"a file of {name}", f"checkpoints/{name}.parquet, weights/{name}.safetensors, ...")
        _need(
            isinstance(file, dict)
            and file.keys() == {"sha256", "bytes"}
            and _is_text(file["sha256"], 64)
            and _is_count(file["bytes"], 0),
            path,
            "its sha256 and its bytes",
        )
    # Every row has at least its own number in the file of weights: a claim of any number of rows would fill the memory.
    weights = files.get(f"weights/{name}.safetensors", {"bytes": _MOST})["bytes"]
    _need(part["rows"] <= weights, f"{name} rows", f"at most one for each of the {weights:,} bytes of its weights")


def _is_path(path: str, part: str) -> bool:
    """Whether a part may have a file of this name: the folder says what it holds, and the file is named as the part."""
    kind, *data = path.split("/")[:-1] or [""]
    ending = ".parquet" if kind == "checkpoints" else ".safetensors"
    folders = not data if kind in ("checkpoints", "weights") else kind == "outputs" and len(data) == 1
    return folders and all(map(_NAME.fullmatch, data)) and path.split("/")[-1] == f"{part}{ending}"


def _check_data(data: Any, built: bool) -> None:
    _need(isinstance(data, dict), "data", "an object")
    for key, length in (("name", 100), ("fingerprint", 64), ("colour", 10)):
        if built or key in data:
            _need(_is_text(data.get(key), length), f"data {key}", "a short text that can be printed")
    _need(data.get("location") is None or _is_text(data["location"], 4096), "data location", "the path of a folder")
    _need(data.get("size") is None or _is_count(data["size"], 1), "data size", "a whole number from 1 on")
    for key in ("train_images", "test_images", "duplicates"):
        if built or data.get(key) is not None:
            _need(_is_count(data.get(key), 0), f"data {key}", "a whole number from 0 on")


def _check_plan(plan: Any) -> None:
    """A plan numbers its parts and has all runs in order."""
    _need(isinstance(plan, list), "plan", "a list")
    first = 0
    for number, part in enumerate(plan):
        runs: Any = part.get("runs") if isinstance(part, dict) else None
        _need(
            _is_count(runs, 1) and part == {"name": f"part-{number:05d}", "first_run": first, "runs": runs},
            f"part {number} of the plan",
            f"part-{number:05d} from run {first} on",
        )
        first += runs


def _is_text(value: Any, longest: int, lines: bool = False) -> bool:
    """Whether ``value`` can be printed: no control characters, which could steer a terminal; ``lines`` may end."""
    if not isinstance(value, str) or len(value) > longest:
        return False
    return readable(value) if lines else value.isprintable()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST


def _need(holds: bool, what: str, expected: str) -> None:
    if not holds:
        raise ValueError(f"{what} is not {expected}")
