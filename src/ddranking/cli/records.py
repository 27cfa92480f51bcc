"""``ddranking compare`` and ``ddranking board``: judging records, without torch."""

from __future__ import annotations

import gc
import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ddranking.cli.options import WHOLE
from ddranking.errors import BadInput, printable

board = App(name="board", help="Build, check and look at the ranking page.")


def compare(
    first: Path,
    second: Path,
    *,
    w: Annotated[float, Parameter(name=("--weight", "-w"))] = 0.5,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Compare two records of one track: the paired difference of alpha, its interval, a verdict.

    Args:
        first: a record.
        second: another record of the same track and dataset copy.
        w: weight of IOR against HLR, in [0, 1].
        json_: print JSON.

    Returns:
        exit code 0 where one is better beyond chance, 1 where the seeds cannot tell them apart.
    """
    from ddranking.scoring.metrics import ddrs
    from ddranking.scoring.recordfile import load_record
    from ddranking.scoring.statistics import compare_paired

    a, b = load_record(first), load_record(second)
    for what, one, other in (
        ("track", a.track.hash, b.track.hash),
        ("copy of the dataset", a.dataset.digest, b.dataset.digest),
        ("whole-set accuracy", a.real_hard.accuracies, b.real_hard.accuracies),
    ):
        if one != other:
            raise BadInput(
                f"compare {first} {second}",
                expected=f"the same {what} in both records",
                got="different ones",
                hint="Only records measured under the same rules can be compared.",
            )
    alphas = a.alpha(w), b.alpha(w)
    seen = compare_paired(alphas[0].values, alphas[1].values)
    names = [printable(f"{record.entry.method} ({record.recipe.name})") for record in (a, b)]
    words = {1: f"{names[0]} is better", -1: f"{names[1]} is better", 0: "cannot be told apart"}
    if json_:
        answer = {
            "weight": w,
            "alpha_difference": seen.difference.model_dump(mode="json"),
            "p_value": seen.p_value,
            "verdict": words[seen.verdict],
        }
        print(json.dumps(answer, indent=1))
    else:
        for name, alpha in zip(names, alphas, strict=True):
            print(f"{name}: alpha {alpha.mean:+.4f}, DDRS {ddrs(alpha.mean):.4f}")
        low, high = seen.difference.low, seen.difference.high
        print(
            f"paired difference of alpha at w = {w:g}: {seen.difference.mean:+.4f} "
            f"[{low:+.4f}, {high:+.4f}], p = {seen.p_value:.2g}, n = {seen.difference.n}"
        )
        print(words[seen.verdict])
    return 0 if seen.verdict else 1


@board.command
def build(
    *records: Path, out: Path, skip_invalid: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Write the ranking page of all records into a folder.

    Args:
        records: record files, or folders of them.
        out: the folder for index.html and the records.
        skip_invalid: name invalid records in the page's footer instead of stopping.
    """
    from ddranking.board import site
    from ddranking.board.submission import read_records

    reading = read_records(records or (Path("records"),), skip_invalid=skip_invalid)
    if not reading.records:
        raise BadInput("board build", expected="at least one record", got="none")
    gc.freeze()  # records stay until this process ends: no use in looking for garbage among them
    page = site.build(reading.records, out, skipped=reading.skipped)
    print(f"{len(reading.records)} records, {len(reading.skipped)} skipped")
    print(f"Wrote {page}")


@board.command
def check(
    *records: Path,
    base: Path | None = None,
    head: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Check records before they join a board: rules, seeds, arms, derived values, duplicates.

    Args:
        records: record files, or folders of them.
        base: the present board's records, to see what would change.
        head: the folder with the records in it that would take the place of base.
        json_: print JSON.

    Returns:
        exit code 0 where nothing is wrong, 1 where a record cannot join as it is.
    """
    from rich.console import Console

    from ddranking.board.submission import check as examine

    report = examine(records or (Path("records"),), base=base, head=head)
    if not report.files:
        raise BadInput("board check", expected="at least one record", got="none")
    if json_:
        print(json.dumps(report.to_dict(), indent=1))
        return 0 if report.ok else 1
    console = Console()
    if report.findings:
        console.print(report.findings_table())
    if report.changes:
        console.print(report.changes_table())
    files = f"{len(report.files)} file{'s' if len(report.files) != 1 else ''}"
    print(f"{files}: {'nothing is wrong' if report.ok else 'see the errors'}")
    return 0 if report.ok else 1


@board.command
def invalidate(record: Path, *, reason: str, by: str, date: str | None = None) -> None:
    """Take a record out of the ranking, with a reason; it stays in the file and on the page.

    Args:
        record: the record, which is written anew with the mark in it.
        reason: what is wrong with it, for everybody to read.
        by: who says so.
        date: YYYY-MM-DD of the mark; today by default.
    """
    from ddranking.scoring.marks import day
    from ddranking.scoring.recordfile import load_record

    marked = load_record(record).invalidate(reason=reason, by=by, date=day(date))
    marked.save(record)
    entry = printable(f"{marked.entry.method} on {marked.track.id}")
    print(f"{entry} is out of the ranking: {printable(reason.strip())}")


@board.command
def serve(folder: Path = Path("site"), *, port: Annotated[int, WHOLE] = 8000) -> None:
    """Serve a built page to this machine's browser.

    Args:
        folder: what ``board build`` wrote.
        port: on the loopback address.
    """
    if not (folder / "index.html").is_file():
        raise BadInput(
            f"folder {folder}",
            expected="a built page",
            got="no index.html",
            hint="Run: ddranking board build records --out site",
        )
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise BadInput("--port", expected="a free port", got=f"{port} ({error})") from None
    print(f"http://127.0.0.1:{port}/  (Ctrl-C stops)")
    with server:
        server.serve_forever()
