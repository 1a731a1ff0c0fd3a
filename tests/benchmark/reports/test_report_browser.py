"""The report, and the script in it, in a real browser.

A script that the page's policy is made to admit looks at the page, clicks, and reports to the console, which Chromium
writes to stderr.
"""

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import threading

import pytest

from benchmark.reports.board_html import render_html

pytestmark = pytest.mark.browser
WINDOW = ("--remote-debugging-port=0", "--window-size=1400,12000")
PROBE = """
const seen = { problems: [] };
addEventListener("error", (event) => seen.problems.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => seen.problems.push(`refused: ${event.blockedURI}`));
const drawn = () => [...document.querySelectorAll(".plot")].map((plot) => plot.querySelector("svg.main-svg") !== null);
const look = () => {
  const section = document.querySelector("[data-board]"), table = section.querySelector("table");
  const names = () => [...table.tBodies[0].rows].map((row) => row.querySelector(".pick").textContent);
  const click = (title) => {
    const header = [...table.tHead.querySelectorAll("th")].find((th) => th.textContent === title);
    header.querySelector("button").click();
    return [header.getAttribute("aria-sort"), names(), table.tHead.querySelectorAll("[aria-sort]").length];
  };
  seen.drawn = drawn();
  seen.points = section.querySelectorAll(".scatter .points path").length;
  seen.chosen = section.querySelector("tr.chosen .pick").textContent;
  seen.initial = names();
  seen.method = [click("Method"), click("Method")];
  seen.rank = click("Rank");
  const pick = [...table.querySelectorAll(".pick")].find((button) => button.textContent === "path-norm");
  pick.click();
  const [select, card] = [section.querySelector(".method"), section.querySelector(".card")];
  seen.picked = [pick.getAttribute("aria-pressed"), select.value, card.textContent];
  seen.pointsOfPicked = section.querySelectorAll(".scatter .points path").length;
  const background = () => getComputedStyle(document.body).backgroundColor;
  seen.light = background();
  document.getElementById("theme").click();
  seen.dark = background();
  seen.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
  console.log(`seen ${btoa(unescape(encodeURIComponent(JSON.stringify(seen))))} end`);
};
const deadline = Date.now() + 60000;
const wait = () => (drawn().every(Boolean) || Date.now() > deadline ? look() : setTimeout(wait, 50));
addEventListener("load", wait);
"""


@pytest.fixture(scope="module")
def seen(found, summaries, chromium, tmp_path_factory):
    text = render_html(found, summaries)
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    text = text.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    text = text.replace("<title>", f"<script>{PROBE}</script><title>", 1)
    folder = tmp_path_factory.mktemp("browser")
    (folder / "page.html").write_text(text, encoding="utf-8")
    command = [*chromium, *WINDOW, f"--user-data-dir={folder / 'profile'}", (folder / "page.html").as_uri()]
    console = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as browser:
        timer = threading.Timer(120, os.killpg, (browser.pid, signal.SIGKILL))
        timer.start()
        report = None
        for line in browser.stderr or ():
            if report := re.search(r"seen (\S+) end", line):
                break
            if "CONSOLE" in line:
                console.append(line)
        timer.cancel()
        os.killpg(browser.pid, signal.SIGKILL)
    assert report, f"the page did not get to its end; its console says {console}"
    return {**json.loads(base64.b64decode(report[1])), "console": console}


def test_every_figure_is_drawn(seen, found, summaries):
    assert len(seen["drawn"]) == sum(len(task.boards) for task in found) + sum(2 + len(zoo.axes) for zoo in summaries)
    assert all(seen["drawn"])
    assert seen["points"] == len(found[0].models)


def test_nothing_goes_wrong_and_nothing_is_asked_of_the_network(seen):
    assert seen["console"] == []
    assert seen["problems"] == []
    assert [url for url in seen["resources"] if not url.startswith(("data:", "blob:"))] == []


def test_a_click_on_a_header_sorts_and_a_second_one_turns_the_order_round(seen):
    assert seen["method"][0] == ["ascending", sorted(seen["initial"]), 1]
    assert seen["method"][1] == ["descending", sorted(seen["initial"], reverse=True), 1]


def test_rows_without_a_value_are_sorted_last(seen, found):
    order, names, _ = seen["rank"]
    ranked = [row.record.method for row in found[0].boards[0].rows if row.rank]
    assert order == "ascending"
    assert names[: len(ranked)] == ranked


def test_the_leader_is_shown_first_and_a_click_on_a_name_shows_another(seen, found):
    assert seen["chosen"] == next(row.record.method for row in found[0].boards[0].rows if row.rank == 1)
    pressed, selected, card = seen["picked"]
    assert pressed == "true"
    assert found[0].boards[0].rows[int(selected)].record.method == "path-norm"
    assert "4 of 130 models" in card
    assert seen["pointsOfPicked"] == 126


def test_light_and_dark(seen):
    assert seen["light"] != seen["dark"]
