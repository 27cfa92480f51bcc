"""What the roofline counts."""

from __future__ import annotations

from benchmarks import roofline


def test_operations_are_counted_as_on_paper() -> None:
    first, second, third = 128 * 32**2 * 27, 128 * 16**2 * 1152, 128 * 8**2 * 1152
    linear = 10 * 128 * 4**2
    forward = 2 * (first + second + third + linear)
    assert roofline.flops(training=False) == forward
    assert roofline.flops(training=True) == 3 * forward - 2 * first


def test_every_alternative_is_timed_in_every_turn() -> None:
    calls: list[str] = []
    what = {
        ("step", 50, "ours", "fp32"): lambda: calls.append("step"),
        ("fp32", (1, 1, 1)): lambda: calls.append("product"),
    }
    found = roofline._in_turns(what, rounds=3)
    assert [len(times) for times in found.values()] == [3, 3]
    assert calls == ["step", "step", "product"] * 4
