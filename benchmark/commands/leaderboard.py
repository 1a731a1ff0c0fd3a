"""`gengap leaderboard`."""

import argparse
import json

from benchmark.commands.common import note
from benchmark.commands.run import record_json
from zoo_builder.errors import InputError


def _leaderboard(options: argparse.Namespace) -> int:
    from benchmark.reports.report import markdown, write_html
    from zoo_builder import files
    from zoo_builder.store.zoo import Zoo

    if not options.results.is_dir():
        raise InputError(f"there is no results folder {options.results}: make one with `gengap run TASK --zoo DIR`")
    if options.across and (options.html or options.json):
        raise InputError("--across makes a table in Markdown: leave --html and --json out")
    text = markdown(options.results, options.across)
    if options.check:
        current = options.check.read_text(encoding="utf-8") if options.check.is_file() else None
        if current != text:
            across = f" --across {options.across}" if options.across else ""
            again = f"gengap leaderboard {options.results}{across} --markdown {options.check}"
            note(f"{options.check} is not what the records say: run `{again}`")
            return 1
    if options.html:
        write_html(options.results, options.html, [Zoo.open(path) for path in options.zoo])
        note(f"wrote {options.html}")
    if options.markdown:
        files.write_atomically(options.markdown, lambda path: path.write_text(text, encoding="utf-8"))
        note(f"wrote {options.markdown}")
    if options.json:
        from benchmark.records import read_records

        print(json.dumps([record_json(record) for record in read_records(options.results)], indent=2))
    elif not (options.html or options.markdown or options.check):
        print(text, end="")
    return 0
