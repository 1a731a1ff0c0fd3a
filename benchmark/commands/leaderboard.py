"""`gengap leaderboard`: prints boards, or writes them to files."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.commands.common import add_command, as_json, cores, note, refuse_unwritable, say
from zoo_builder.errors import InputError

if TYPE_CHECKING:
    from benchmark.records import Record
    from benchmark.reports.boards import Population


def add(commands: Any) -> None:
    help = "print the leaderboard of a results folder, or write it to files"
    parser = add_command(commands, "leaderboard", _run, help)
    parser.add_argument(
        "results", nargs="?", type=Path, default=Path("results"), help="the folder of records (default: results)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write Markdown to FILE instead of printing it")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a self-contained page to FILE")
    parser.add_argument("--across", metavar="TASK", help="one task only, its zoos side by side (Markdown)")
    parser.add_argument(
        "--zoo", type=Path, action="append", default=[], metavar="DIR", help="plot this zoo in the page; repeatable"
    )
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="exit with 1 if this Markdown file does not match the records"
    )


def _run(options: argparse.Namespace) -> int:
    from benchmark.records import read_records

    if not options.results.is_dir():
        why = f"{options.results} is a file" if options.results.exists() else f"there is no folder {options.results}"
        raise InputError(f"{why}, expected a folder of records: make one with `gengap run TASK --zoo DIR`")
    if options.across and (options.html or options.json):
        raise InputError("--across makes a table in Markdown: omit --html and --json")
    if options.zoo and not options.html:
        raise InputError("--zoo plots a zoo in a page: add --html FILE, or omit --zoo")
    refuse_unwritable("--html", options.html)
    refuse_unwritable("--markdown", options.markdown)
    if options.check and not options.check.is_file():
        raise InputError(f"--check {options.check}: there is no such file; `--markdown {options.check}` writes it")
    records = _told_apart(read_records(options.results, note))
    if not records:
        raise InputError(
            f"there are no records in {options.results}: name another folder, or write some with "
            f"`gengap run TASK --zoo DIR --results {options.results}`"
        )
    from benchmark.reports.across import render_across
    from benchmark.reports.board_markdown import render_markdown
    from benchmark.reports.boards import NOT_READ
    from zoo_builder import files

    place = options.markdown or options.check
    folder = place.parent if place else None
    found = [] if options.across else _compared(records)
    text = render_across(records, options.across, folder, note) if options.across else render_markdown(found, folder)
    not_read = [record for task in found for record in task.unscored if record.status == NOT_READ]
    for record in not_read:
        note(f"left out: the score of {record.method} on {record.task}: {record.reason}")
    if options.check and options.check.read_text(encoding="utf-8") != text:
        across = f" --across {options.across}" if options.across else ""
        again = f"gengap leaderboard {options.results}{across} --markdown {options.check}"
        note(f"{options.check} does not match the records: run `{again}`")
        return 1
    if options.html:
        from benchmark.reports.report import write_html
        from zoo_builder.store.zoo import Zoo  # imports torch, which takes seconds

        zoos = [Zoo.open(path) for path in options.zoo]
        for zoo in zoos:
            if zoo.weights_hash not in {record.weights_hash for record in records}:
                note(f"{zoo.root} is not plotted: no record is of its weights, {zoo.weights_hash[:12]}")
        write_html(found, options.html, zoos)
        note(f"wrote {options.html}")
    if options.markdown:
        files.write_atomically(options.markdown, lambda path: path.write_text(text, encoding="utf-8"))
        note(f"wrote {options.markdown}")
    if options.json:
        reasons = {record.path: record.reason for record in not_read}
        shown = [record.to_json() | {NOT_READ.replace(" ", "_"): reasons.get(record.path)} for record in records]
        say(as_json(shown))
    elif not (options.html or place):
        say(text, end="")
    return 0


def _told_apart(records: "list[Record]") -> "list[Record]":
    """The records whose methods no reader takes for a built-in one; prints a line about each of the others."""
    from benchmark.evaluation.known_names import builtin_names
    from benchmark.names import look

    builtin = {look(name): name for name in builtin_names()}
    kept = []
    for record in records:
        name = builtin.get(look(record.method))
        if name is None or (record.method == name and record.source is None):
            kept.append(record)
        else:
            note(f"left out: {record.path}: its method {record.method!r} looks like the built-in {name!r}")
    return kept


def _compared(records: "list[Record]") -> "list[Population]":
    """The boards, with a progress bar on a terminal."""
    from tqdm import tqdm

    from benchmark.reports.boards import populations

    with tqdm(total=len(records), unit=" records", dynamic_ncols=True, leave=False, disable=None) as bar:
        return populations(records, bar.update, cores())
