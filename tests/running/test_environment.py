import subprocess

import torch

from ddranking import __version__
from ddranking.running import environment as room


def test_an_environment_names_versions_device_and_threads() -> None:
    seen = room.environment(torch.device("cpu"))
    assert (seen.ddranking, seen.torch) == (__version__, torch.__version__)
    assert seen.device == room.cpu_name() != ""
    assert seen.threads >= 1


def test_nothing_of_the_persons_machine_but_its_kind_is_told() -> None:
    text = room.environment(torch.device("cpu")).model_dump_json()
    for private in ("/home", "/root", "/tmp", "/work"):
        assert private not in text


def test_an_installed_package_has_no_commit(monkeypatch) -> None:
    def fails(*_, **__):
        raise subprocess.CalledProcessError(1, "git")

    monkeypatch.setattr(subprocess, "run", fails)
    assert room._commit() is None
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    assert room._commit() is None
