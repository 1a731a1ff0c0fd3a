"""The command line as a whole: help, exit codes, one-line errors."""

import os
import subprocess
import sys

import pytest

from benchmark.commands.common import FLAGS
from benchmark.commands.main import VERBS, main
from zoo_builder.errors import InputError

COMMANDS = [
    [],
    ["zoo"],
    *(["zoo", verb] for verb in ("build", "plan", "info", "verify")),
    *(
        [name]
        for name in (
            "tasks",
            "methods",
            "measures",
            "measure",
            "signatures",
            "run",
            "rescore",
            "leaderboard",
            "score",
            "demo",
        )
    ),
]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_has_a_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert printed(capsys, *arguments).startswith(" ".join(["usage: gengap", *arguments]))


def test_the_help_shows_a_first_round_and_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    assert "gengap run all --zoo zoos/digits" in text
    for verb in VERBS:
        assert f"\n    {verb.__name__.rpartition('.')[2]}" in text


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ([], ["zoo"])], ids=" ".join)
def test_every_command_prints_json(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert "--json" in printed(capsys, *command)


# A command, and words of the one error that it ends with; {tmp} is an empty folder.
WRONG = {
    "zoo build digit --out {tmp}/zoo": "unknown recipe 'digit' (did you mean 'digits'?)",
    "zoo build digits --out {tmp}/zoo --models 0": "is 0: it must be a whole number in 1 .. 10,000,000",
    "zoo build mnist-gs --out {tmp}/zoo --data {tmp}": "{tmp}",
    "zoo build digits --out {tmp}/zoo --address a:1": "--address needs --runner ray: add it, or omit --address",
    "zoo build digits --out {tmp}/zoo --runner ray --workers 2": "--workers needs --runner local: a Ray cluster trains",
    "zoo plan mnist-gs --data /nowhere": "/nowhere is not a folder",
    "zoo verify {tmp} --data /nowhere": "--data /nowhere is not a folder: give the folder of the data set, or omit",
    "run complexity random --zoo {tmp} --data /nowhere": "--data /nowhere is not a folder",
    "zoo info {tmp}": "is not a zoo: it has no zoo.json",
    "zoo verify {tmp}/nowhere": "is not a zoo",
    "measures nroms": "unknown measure 'nroms' (did you mean 'norms'?): give all, fast, a family",
    "run test-accuracy --zoo {tmp}": "is not a zoo",
    "tasks --zoo {tmp}": "is not a zoo",
    "measure {tmp}": "is not a zoo",
    "measures mine.py:mine": "mine.py:mine is not a built-in measure: `gengap run complexity mine.py:mine --zoo DIR`",
    "signatures {tmp}": "is not a zoo",
    "leaderboard {tmp}/nowhere": "there is no folder {tmp}/nowhere, expected a folder of records: make one with",
    "leaderboard LICENSE": "LICENSE is a file, expected a folder of records",
    "leaderboard {tmp} --html {tmp}/no/page.html": "--html {tmp}/no/page.html: {tmp}/no is not a writable folder; make",
    "leaderboard {tmp} --markdown {tmp}/no/page.md": "--markdown {tmp}/no/page.md: {tmp}/no is not a writable folder",
    "leaderboard {tmp} --markdown {tmp}": "--markdown {tmp} is a folder, expected the name of a file",
    "leaderboard {tmp} --check {tmp}/no.md": "--check {tmp}/no.md: there is no such file; `--markdown {tmp}",
    "leaderboard {tmp} --across complexity --html {tmp}/page": "--across makes a table in Markdown: omit --html and",
    "leaderboard {tmp}": "there are no records in {tmp}: name another folder, or write some with `gengap run",
    "leaderboard {tmp} --zoo {tmp}": "--zoo plots a zoo in a page: add --html FILE, or omit --zoo",
    "score {tmp}/no.csv --target a --prediction b": "there is no file {tmp}/no.csv, expected a table: check its path",
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_is_one_clear_error(refused, tmp_path, command: str) -> None:
    error = refused(*command.format(tmp=tmp_path).split())
    assert WRONG[command].format(tmp=tmp_path) in error
    assert list(tmp_path.iterdir()) == [], "nothing is written"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run all --zoo zoo --out x", "usage: gengap run [-h]"),
        ("run all --zoo zoo --out x", "gengap run: error: unrecognized arguments: --out x"),
        ("zoo build digits --out x --workers 0", "--workers: it is 0, expected a whole number of at least 1"),
        ("zoo build digits --out x --workers two", "--workers: it is two, expected a whole number"),
        ("run all --zoo zoo --timeout -1", "--timeout: it is -1, expected a number of seconds above 0"),
        ("run all --zoo zoo --timeout nan", "--timeout: it is nan, expected a number of seconds above 0"),
        ("zoo plan digits --out x", "usage: gengap zoo plan"),
        ("zoo build digits --out ", "--out: it is empty"),
        ("zoo build digits --out x --runner ray --address ", "--address: it is empty"),
    ],
)
def test_wrong_arguments_show_the_usage_of_their_own_command(
    capsys: pytest.CaptureFixture[str], command: str, words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command.split(" "))
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_errors_of_the_library_name_the_flag_of_an_argument(gengap, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path):
        raise InputError("choose another `out`, or the folder as `data_root`; run `gengap zoo` with a `name`")

    monkeypatch.setattr("zoo_builder.store.zoo.Zoo.open", refuse)
    error = "choose another --out, or the folder as --data; run `gengap zoo` with a `name`"
    assert gengap("zoo", "info", "x") == (2, "", f"gengap: error: {error}\n")


def test_every_flag_that_stands_for_an_argument_exists(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(printed(capsys, *command) for command in COMMANDS)
    assert [flag for flag in FLAGS.values() if f"{flag} " not in text] == []


def test_processes_do_not_import_from_the_current_folder(gengap, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own way of starting a process does."""
    for name in ("random", "pickle", "zoo_builder", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the user was run')\n")
    monkeypatch.chdir(tmp_path)
    code, _, err = gengap("zoo", "build", "digits", "--models", 4, "--epochs", 1, "--workers", 2, "--out", "zoo")
    assert (code, "a module of the user" in err) == (0, False)


@pytest.mark.system
def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m benchmark.commands.main methods | head -1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stderr == ""


@pytest.mark.system
@pytest.mark.parametrize("arguments", [["tasks"], ["methods", "--json"]])
def test_output_that_finds_no_room_is_one_clear_error(arguments: list[str]) -> None:
    """More than Python's buffer holds, and less."""
    command = [sys.executable, "-m", "benchmark.commands.main", *arguments]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    words = "gengap: error: the output cannot be written: no space left on the device; free some space\n"
    assert (result.returncode, result.stderr) == (2, words)


def test_linear_algebra_has_one_thread_unless_the_user_says_otherwise() -> None:
    code = """
import benchmark.commands.main, threadpoolctl
print([found["num_threads"] for found in threadpoolctl.threadpool_info()])"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    for given, expected in (({}, "[1]\n"), ({"OPENBLAS_NUM_THREADS": "2"}, "[2]\n")):
        command = [sys.executable, "-c", code]
        ended = subprocess.run(command, env=environment | given, capture_output=True, text=True, check=True)
        assert ended.stdout == expected
