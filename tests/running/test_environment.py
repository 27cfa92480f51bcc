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


def test_a_fingerprint_is_of_all_that_last_bits_depend_on(monkeypatch, tmp_path) -> None:
    cpu, found = torch.device("cpu"), set()

    def new() -> bool:
        """Whether it is one that has not been seen yet."""
        room.environment.cache_clear()
        room.fingerprint.cache_clear()
        before = len(found)
        found.add(room.fingerprint(cpu))
        return len(found) > before

    assert new()
    with monkeypatch.context() as changed:
        changed.setattr(room, "_commit", lambda: "another")
        changed.setenv("SOMETHING_ELSE", "1")
        changed.setattr(torch, "get_num_threads", lambda: 77)
        changed.setattr(room.platform, "node", lambda: "another")
        assert not new()
    for change in (
        lambda to: to.setenv("ONEDNN_MAX_CPU_ISA", "AVX2"),
        lambda to: to.setattr(room, "cpu_name", lambda: "another"),
        lambda to: to.setattr(room, "version", lambda name: "another"),
        lambda to: to.setattr(room, "_version", lambda name: "another"),
    ):
        with monkeypatch.context() as changed:
            change(changed)
            assert new()
    with monkeypatch.context() as changed:
        changed.setattr(room, "cpu_name", lambda: room.UNKNOWN)
        assert new()
        changed.setattr(room.platform, "node", lambda: "another")
        assert new()
    package = tmp_path / "ddranking"
    (package / "running").mkdir(parents=True)
    source = package / "fused.cpp"
    source.write_text("one")
    monkeypatch.setattr(room, "__file__", str(package / "running" / "environment.py"))
    assert new()
    source.write_text("other")
    assert new()
    monkeypatch.undo()
    assert not new()
