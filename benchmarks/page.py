"""The page in Chromium: from opening it until it can be used, and while the slider is dragged.

The aims are 200 ms until it is ready with 1,000 entries, and 60 frames a second: 16.7 ms a frame.
"work", "script" and "layout" are processor time of the page's main thread, which hardly depends on
what else the machine does; the others are what a clock on the wall says.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.invented import records

COUNTS = (100, 1000)
LOADS, STEPS = 7, 150
REST = 2500
"""Milliseconds that a reader looks before taking the slider; the page works ahead meanwhile."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

DRAG = """async (steps) => {
  const slider = document.getElementById("w"), frames = [];
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  let last = await frame(), long = 0;
  const observer = new PerformanceObserver((list) => { long += list.getEntries().length; });
  observer.observe({ entryTypes: ["longtask"] });
  for (let k = 0; k < steps; k++) {
    slider.value = 0.5 + 0.45 * Math.sin((4 * Math.PI * k) / steps); // to and fro, twice
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  observer.disconnect();
  return { frames, long };
}"""
"""Moves w once a frame, as a hand does; the time between frames, and tasks of over 50 ms."""

COSTS = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")


def measure() -> list[dict[str, float | int | str]]:
    """A row for each number of entries."""
    from playwright.sync_api import sync_playwright

    from ddranking.board.site import build

    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("no Chromium on this machine: install the system's chromium package")
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        for count in COUNTS:
            index = build(records(count), Path(folder) / str(count))
            rows.append(
                {"entries": count, "kB": index.stat().st_size // 1000} | visit(browser, index)
            )
        browser.close()
    return rows


def visit(browser: Any, index: Path) -> dict[str, float | int]:
    """Opens the page several times, then drags the slider."""
    ready, work, drawn = [], [], []
    page: Any = None
    session: Any = None
    for _ in range(LOADS):
        if page is not None:
            page.close()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(index.as_uri())
        page.wait_for_selector("html[data-ready]")
        ready.append(float(page.evaluate("document.documentElement.dataset.ready")))
        page.wait_for_selector("#lines svg", state="attached")
        drawn.append(page.evaluate("performance.now()"))
        work.append(_costs(session)["TaskDuration"])
    page.wait_for_timeout(REST)
    page.evaluate(DRAG, 20)  # what is compiled on first use
    page.wait_for_timeout(500)
    before = _costs(session)
    dragged = page.evaluate(DRAG, STEPS)
    frames = sorted(dragged["frames"])
    costs = {name: (after - before[name]) / STEPS for name, after in _costs(session).items()}
    page.close()
    return {
        "ready ms": median(ready),
        "charts ms": median(drawn),
        "work to charts": median(work),
        "frame ms": median(frames),
        "95 %": frames[int(0.95 * STEPS)],
        "worst": frames[-1],
        "frames/s": 1000 * STEPS / sum(frames),
        "long tasks": dragged["long"],
        "work ms": costs["TaskDuration"],
        "script": costs["ScriptDuration"],
        "layout": costs["LayoutDuration"] + costs["RecalcStyleDuration"],
    }


def _costs(session: Any) -> dict[str, float]:
    """Milliseconds of the main thread so far, by what they went to."""
    told = session.send("Performance.getMetrics")["metrics"]
    return {m["name"]: 1000 * m["value"] for m in told if m["name"] in COSTS}
