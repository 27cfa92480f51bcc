"""The command line: ``ddranking COMMAND``. One module a group of commands.

Exit codes: 0 done, 1 the answer is no, 2 bad input (one line on the error stream), 130 interrupted.
Bodies import what they need, so that ``--help`` and ``list`` load no torch.
"""

from __future__ import annotations

import sys

from cyclopts import App
from cyclopts.exceptions import CycloptsError, UnusedCliTokensError

from ddranking import __version__, interrupt
from ddranking.errors import BadInput, DDRankingError

app = App(
    name="ddranking",
    help="Measures what the images of a distilled dataset are worth, and ranks them.",
    version=__version__,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)

_GROUPS = {
    "demo": "demo:demo",
    "pack": "sets:pack",
    "inspect": "sets:inspect",
    "baseline": "sets:baseline",
    "plan": "score:plan",
    "score": "score:score",
    "reference": "reference:reference",
    "compare": "records:compare",
    "explain": "explain:explain",
    "verify": "verify:verify",
    "list": "tables:list_names",
}
for _name, _home in _GROUPS.items():
    app.command(f"ddranking.cli.{_home}", name=_name)
app.command("ddranking.cli.records:board", name="board")
app.command("ddranking.cli.tables:data", name="data")
app.command("ddranking.cli.store:store", name="store")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    try:
        answer = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except UnusedCliTokensError as error:
        extra = " ".join(error.unused_tokens or ())
        return _complain(f"more arguments than the command takes: {extra}", "See: ddranking --help")
    except CycloptsError as error:
        return _complain(" ".join(str(error).split()), hint="See: ddranking --help")
    except BadInput as error:
        return _complain(str(error))
    except DDRankingError as error:
        _complain(str(error))
        return 1
    except BrokenPipeError:
        return 0
    except OSError as error:  # a name too long, a folder in the way, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        interrupt.handled()
        print(interrupt.LINE, file=sys.stderr)
        return interrupt.CODE
    return answer if isinstance(answer, int) else 0


def _complain(message: str, hint: str = "") -> int:
    line = f"ddranking: {message}"
    if hint:
        line = line.rstrip(" ,.")
        line = f"{line} {hint}" if line.endswith("?") else f"{line}. {hint}"
    print(line, file=sys.stderr)
    return 2
