import gc
import weakref
from itertools import pairwise

import pytest
import torch

from ddranking.errors import BadInput, DDRankingError
from ddranking.models import table
from ddranking.training import fit
from ddranking.training.memory import (
    READ_AT_ONCE,
    in_batches,
    in_smaller_groups,
    is_out_of_memory,
    with_smaller_batches,
)
from ddranking.training.targets import LabelledImages


def full() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize(("size", "most"), [(50, 50), (50, 49), (50, 7), (50, 1), (1, 1), (3, 2)])
def test_batches_are_halved_until_they_fit(size, most) -> None:
    tried = []

    def run(batch: int) -> int:
        tried.append(batch)
        if batch > most:
            raise full()
        return batch

    assert with_smaller_batches(run, size) == tried[-1] <= most
    assert tried[0] == size
    assert all(after == max(1, before // 2) for before, after in pairwise(tried))


def in_groups(run, jobs, sparing=None) -> list:
    """All answers in order; ``run`` and ``sparing`` give those of a list of jobs."""

    def each(answers):
        return lambda group: zip(group, answers(list(group.values())), strict=True)

    numbered = dict(enumerate(jobs))
    found = dict(in_smaller_groups(each(run), numbered, each(sparing) if sparing else None))
    return [found[number] for number in range(len(jobs))]


@pytest.mark.parametrize("most", range(1, 12))
def test_a_group_is_halved_and_its_answers_stay_in_order(most) -> None:
    groups = []

    def run(jobs):
        groups.append(list(jobs))
        if len(jobs) > most:
            raise full()
        return [10 * job for job in jobs]

    assert in_groups(run, range(11)) == [10 * job for job in range(11)]
    done = [job for group in groups if len(group) <= most for job in group]
    assert done == list(range(11)), "nothing is trained twice that was finished"


@pytest.mark.parametrize("ended", range(5))
def test_what_has_ended_when_memory_runs_out_is_not_trained_again(ended) -> None:
    trained = []

    def run(group):
        for count, (number, job) in enumerate(group.items()):
            if len(group) == 5 and count == ended:
                raise full()
            trained.append(number)
            yield number, 10 * job

    found = dict(in_smaller_groups(run, {number: number for number in range(5)}))
    assert found == {number: 10 * number for number in range(5)}
    assert sorted(trained) == list(range(5))


def test_what_does_not_fit_by_itself_is_tried_in_less_memory() -> None:
    spared = []

    def run(jobs):
        if len(jobs) > 1 or jobs[0] == 2:
            raise full()
        return [10 * jobs[0]]

    def sparing(jobs):
        spared.append(list(jobs))
        return [20 * job for job in jobs]

    assert in_groups(run, [1, 2, 3], sparing) == [10, 40, 30]
    assert spared == [[2]]


@pytest.mark.parametrize("whole", [torch.randn(7, 3, 4, 4), torch.randn(120, 3, 4, 4)])
def test_images_are_read_in_batches_that_fit(whole) -> None:
    sizes = []

    def run(batch):
        sizes.append(len(batch))
        if len(batch) > 20:
            raise full()
        return batch.mean((1, 2, 3))

    read = in_batches(run, whole, torch.device("cpu"))
    torch.testing.assert_close(read, whole.mean((1, 2, 3)))
    assert max(sizes) == min(50, len(whole))


def test_nothing_of_a_batch_is_left_when_the_next_one_is_made() -> None:
    """Two hundred small answers in a heap that is never trimmed kept 0.6 GB from being used."""
    left: list[weakref.ref] = []

    def run(batch):
        assert all(one() is None for one in left)
        answer = batch.sum((1, 2, 3))
        left[:] = [weakref.ref(answer)]
        return answer

    whole = torch.randn(230, 1, 2, 2)
    read = in_batches(run, whole, torch.device("cpu"))
    torch.testing.assert_close(read, whole.sum((1, 2, 3)))


def test_what_never_fits_says_what_to_do() -> None:
    def run(_) -> list[int]:
        raise full()

    for call in (lambda: with_smaller_batches(run, 8), lambda: in_groups(run, [1, 2, 3])):
        with pytest.raises(
            DDRankingError, match=r"more memory.*2\.00 GiB.*fewer --workers"
        ) as seen:
            call()
        assert not isinstance(seen.value, BadInput)
        assert len(str(seen.value).splitlines()) == 1


def test_other_errors_are_not_taken_for_it() -> None:
    tried = []

    def run(_) -> list[int]:
        tried.append(1)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        with_smaller_batches(run, 8)
    with pytest.raises(RuntimeError, match="mat1"):
        in_groups(run, [1, 2])
    assert len(tried) == 2


def test_a_processor_without_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_failed_attempt_holds_nothing_when_the_next_one_starts() -> None:
    """Its tensors are what fills the device."""
    held: list[weakref.ref] = []

    def run(size: int) -> int:
        if held:
            gc.collect()
            assert held[-1]() is None
        tensor = torch.zeros(size)
        held.append(weakref.ref(tensor))
        if size > 1:
            raise full()
        return size

    assert with_smaller_batches(run, 4) == 1
    held.clear()
    assert in_groups(lambda jobs: [run(len(jobs))] * len(jobs), [1, 2, 3, 4]) == [1] * 4


@pytest.mark.parametrize("model", ["convnet2", "convnet2-bn", "mlp"])
def test_an_accuracy_does_not_depend_on_the_batch(monkeypatch, model) -> None:
    """What makes halving legal: each image is judged by itself."""
    network = table.build(model, (1, 8, 8), 10, seed=0)
    chance = torch.Generator().manual_seed(0)
    images = torch.randn(333, 1, 8, 8, generator=chance)
    data = LabelledImages(images, torch.randint(10, (333,), generator=chance))
    seen = set()
    for size in (333, 50, 25, 12, 6, 3, 1):
        monkeypatch.setitem(READ_AT_ONCE, "cpu", size)
        seen.add(fit.accuracy(network, data, torch.device("cpu")))
    assert len(seen) == 1
