"""What the parts of a step are said to take."""

from __future__ import annotations

import time

import pytest
import torch
from benchmarks.options import Options

from benchmarks import profile


def test_a_part_counts_without_what_it_calls_of_others(monkeypatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(now)))
    clock = profile.Clock()
    inner = clock.timed("inner", lambda value: value + 1)

    def calls(value: int) -> int:
        return inner(inner(value))

    assert clock.timed("outer", calls)(1) == 3
    assert clock.spent == {"inner": 2.0, "outer": 3.0}  # 5 ticks from the start to the end


def test_a_part_that_fails_is_closed(monkeypatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(now)))
    clock = profile.Clock()

    def fails() -> None:
        raise ValueError

    def goes_on() -> None:
        with pytest.raises(ValueError):
            clock.timed("inner", fails)()

    clock.timed("outer", goes_on)()
    assert clock.spent == {"inner": 1.0, "outer": 2.0}


@pytest.mark.parametrize("student", ["convnet1-w32", "convnet1-w32-bn", "mlp"])
def test_the_parts_are_the_whole_step(student: str, monkeypatch) -> None:
    monkeypatch.setattr(profile, "BATCHES", (10,))
    monkeypatch.setattr(profile, "IMAGES", 20)
    monkeypatch.setattr(profile, "tune_allocator", lambda: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    report = profile.measure(Options(rounds=1, precision=("fp32",), student=student))
    [[parts]] = report.raw.values()
    assert set(parts) == {part for part, _, _ in profile.PARTS} | {profile.REST}
    assert all(seconds >= 0 for seconds in parts.values())
    fused = "not fused" not in report.notes[0]
    assert (parts["first block"] > 0) == fused
    [*rows, last] = report.tables["profile"]
    assert len(rows) == len(parts)
    assert str(last["fp32, 10 images"]).endswith("(100 %)")
