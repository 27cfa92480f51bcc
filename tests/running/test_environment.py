import subprocess

import torch

from ddranking import __version__
from ddranking.running import environment as room
from ddranking.running.worker import Task, perform


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


def test_it_is_said_by_what_a_network_was_computed(make_study) -> None:
    """Last bits depend on it, and bf16 on tiles is not bf16 without them."""
    study, cpu = make_study(), torch.device("cpu")
    [(_, done)] = perform((Task(study.pending({})[0]),), study.workbench, cpu)
    how, *able = (done.environment.kernels or "").split(", ")
    assert how in ("fused", "torch")
    assert able[0] == torch.backends.cpu.get_cpu_capability()
    assert ("AMX" in able) == torch.cpu._is_amx_tile_supported()
