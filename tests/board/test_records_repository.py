"""The workflows of a records repository, run as far as a machine without GitHub can.

The ``run:`` steps are taken from the files and executed by the shell that GitHub uses, in two
checkouts of a real repository: the base branch, and a pull request, honest or hostile.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ddranking.scoring.recordfile import load_record

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "records-repository"
WORKFLOWS = sorted(
    [*ROOT.glob(".github/workflows/*.yml"), *EXAMPLE.glob(".github/workflows/*.yml")]
)
CHECK_FILE = EXAMPLE / ".github" / "workflows" / "check.yml"
ONLY_RECORDS, CHECK = "Only records, added or changed, never deleted", "Check"


def steps(file: Path) -> list[dict[str, Any]]:
    [job] = yaml.safe_load(file.read_text())["jobs"].values()
    return job["steps"]


def git(folder: Path, *words: str, given: str | None = None) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "core.compression=0")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True, input=given
    )
    return done.stdout.strip()


@dataclass
class Repository:
    """The checkouts ``base`` and ``head`` that the workflow's first steps make."""

    home: Path
    records: Path
    first: str

    def propose(self) -> None:
        """Commits what was put into ``head``, as the pull request."""
        git(self.home / "head", "add", "-A")
        git(self.home / "head", "commit", "-qm", "Hand in")

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        """Runs the step of the check workflow with this name."""
        [script] = [s["run"] for s in steps(CHECK_FILE) if s.get("name") == name]
        environment = os.environ | {
            "BASE": self.first,
            "RUNNER_TEMP": str(self.home / "temp"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        return subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def repository(make_record, records, tmp_path) -> Repository:
    """A records repository with one record in it, and a fork to propose a change from."""
    if shutil.which("git") is None or shutil.which("bash") is None:
        pytest.skip("needs git and bash")
    base, head = tmp_path / "base", tmp_path / "head"
    shutil.copytree(EXAMPLE, base)
    old = make_record("Old").model_copy(update={"picture": records[0].picture})
    old.save(base / "records" / "cifar10-ipc1-convnet3" / "old-dc.json")
    git(base, "init", "-qb", "main")
    git(base, "add", "-A")
    git(base, "commit", "-qm", "The board")
    git(tmp_path, "clone", "-q", "base", "head")
    (tmp_path / "temp").mkdir()
    return Repository(tmp_path, head / "records", git(base, "rev-parse", "HEAD"))


@pytest.fixture
def new(make_record, records) -> Any:
    return make_record("New", syn_any=(0.31, 0.30, 0.31, 0.30, 0.32)).model_copy(
        update={"picture": records[0].picture}
    )


def test_a_record_by_itself_is_checked_against_the_board(repository, new):
    new.save(repository.records / "cifar10-ipc1-convnet3" / "new-dc.json")
    repository.propose()
    assert repository.run(ONLY_RECORDS).returncode == 0
    done = repository.run(CHECK)
    assert done.returncode == 0, done.stderr
    assert "New (dc)" in done.stdout and "Old (dc)" in done.stdout, "who moves"


def test_a_record_in_the_place_of_another_is_refused(repository, new):
    new.save(repository.records / "cifar10-ipc1-convnet3" / "old-dc.json")
    repository.propose()
    assert repository.run(ONLY_RECORDS).returncode == 0, "a changed file may be a correction"
    done = repository.run(CHECK)
    words = re.sub(r"[\s│]+", " ", done.stdout)
    assert done.returncode != 0 and "would replace Old (dc)" in words, done.stderr


def test_a_mark_that_came_after_the_fork_is_not_overwritten(repository):
    """The board has moved on: what counts is its tip, not where the pull request began."""
    path = Path("records") / "cifar10-ipc1-convnet3" / "old-dc.json"
    old = load_record(repository.home / "base" / path)
    old.model_copy(update={"notes": ("mine",)}).save(repository.home / "head" / path)
    repository.propose()
    assert repository.run(ONLY_RECORDS).returncode == 0
    assert repository.run(CHECK).returncode == 0, "a correction in its place"
    marked = old.invalidate(reason="made of test images", by="Ada", date="2026-02-03")
    marked.save(repository.home / "base" / path)
    done = repository.run(CHECK)
    assert done.returncode != 0 and "was invalidated" in re.sub(r"[\s│]+", " ", done.stdout)


def put(path: str, text: str) -> Callable[[Path], None]:
    def write(head: Path) -> None:
        file = head / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def link(path: str, target: str) -> Callable[[Path], None]:
    return lambda head: (head / path).symlink_to(target)


def delete(head: Path) -> None:
    (head / "records" / "cifar10-ipc1-convnet3" / "old-dc.json").unlink()


def rename(head: Path) -> None:
    folder = head / "records" / "cifar10-ipc1-convnet3"
    (folder / "old-dc.json").rename(folder / "older-dc.json")


def become_a_link(head: Path) -> None:
    delete(head)
    link("records/cifar10-ipc1-convnet3/old-dc.json", "new-dc.json")(head)


def executable(head: Path) -> None:
    (head / "records" / "tool.json").write_text("{}")
    (head / "records" / "tool.json").chmod(0o755)


def another_repository(head: Path) -> None:
    """A submodule under records/, without a file that names it."""
    commit = git(head, "rev-parse", "HEAD")
    (head / "records" / "sub.json").mkdir()
    git(head, "update-index", "--add", "--cacheinfo", f"160000,{commit},records/sub.json")


HOSTILE = {
    "a workflow": put(".github/workflows/check.yml", "name: mine"),
    "another tool": put("requirements.txt", "not-ddranking"),
    "a script among the records": put("records/run.py", "raise SystemExit"),
    "a hidden file": put("records/.hidden.json", "{}"),
    "a hidden folder": put("records/.git-hooks/a.json", "{}"),
    "an option for a name": put("records/--base.json", "{}"),
    "a name with a line break": put("records/a\nb.json", "{}"),
    "a name with a quotation mark": put('records/a";b.json', "{}"),
    "a link to a file outside": link("records/link.json", "/etc/hostname"),
    "a link to a folder": link("records/link.json", ".."),
    "a deleted record": delete,
    "a renamed record": rename,
    "a record that becomes a link": become_a_link,
    "an executable": executable,
    "a submodule": another_repository,
    "nothing at all": lambda head: None,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_anything_but_plain_records_is_refused_before_it_is_read(repository, new, what):
    if what != "nothing at all":
        new.save(repository.records / "cifar10-ipc1-convnet3" / "new-dc.json")
        HOSTILE[what](repository.home / "head")
        repository.propose()
    done = repository.run(ONLY_RECORDS)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "::error::" in done.stdout


def test_a_path_that_leaves_the_folder_is_refused(repository):
    """Git refuses to check such a tree out; the list of changes refuses it too."""
    head = repository.home / "head"
    blob = git(head, "hash-object", "-w", "--stdin", given="{}")
    tree = git(head, "mktree", given=f"100644 blob {blob}\tup.json\n")
    dots = git(head, "mktree", given=f"040000 tree {tree}\t..\n")
    whole = git(head, "ls-tree", "HEAD").replace("\trecords", "\told")
    root = git(head, "mktree", given=f"{whole}\n040000 tree {dots}\trecords\n")
    commit = git(head, "commit-tree", root, "-p", "HEAD", "-m", "Up")
    git(head, "update-ref", "HEAD", commit)
    changed = git(head, "diff", "--name-status", "--no-renames", f"{repository.first}...HEAD")
    assert "records/../up.json" in changed
    assert repository.run(ONLY_RECORDS).returncode == 1


def test_a_hundred_megabytes_end_in_one_line(repository, new):
    new.save(repository.records / "cifar10-ipc1-convnet3" / "new-dc.json")
    with (repository.records / "huge.json").open("wb") as file:
        file.truncate(100 << 20)
    repository.propose()
    assert repository.run(ONLY_RECORDS).returncode == 0, "its name is a record's"
    done = repository.run(CHECK)
    assert done.returncode != 0
    words = re.sub(r"[\s│]+", " ", done.stdout)
    assert "huge.json" in words and "32 MiB" in words and "Traceback" not in done.stderr


def test_the_board_is_published_from_the_main_branch(repository):
    publish = EXAMPLE / ".github" / "workflows" / "publish.yml"
    [script] = [s["run"] for s in steps(publish) if "board build" in s.get("run", "")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=repository.home / "base",
        env=os.environ | {"PATH": path},
        check=True,
        capture_output=True,
    )
    assert (repository.home / "base" / "site" / "index.html").is_file()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: f"{file.parts[-4]}-{file.stem}")
def test_workflows_are_read_only_by_default_and_take_no_text_into_their_scripts(file):
    flow = yaml.safe_load(file.read_text())
    assert flow["permissions"]["contents"] in ("read", "write")
    asked = flow[True]  # YAML 1.1 reads "on" as a truth value
    for step in steps(file):
        assert ("run" in step) != ("uses" in step)
        assert "${{" not in step.get("run", ""), "text of an event is never part of a script"
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))
        if step.get("uses", "").startswith("actions/checkout") and "pull_request_target" in asked:
            assert step["with"]["persist-credentials"] is False
    if "pull_request_target" in asked:
        assert flow["permissions"] == {"contents": "read"}
        scripts = " ".join(step.get("run", "") for step in steps(file))
        for runs in ("head/requirements", "pip install -r requirements", "bash head", "make"):
            assert runs not in scripts, "nothing of the pull request is executed"
