import pytest
from pydantic import ValidationError

from ddranking.scoring.observation import Environment, Observation, Outcome

ENVIRONMENT = Environment(
    ddranking="1", torch="2", python="3", device="none", threads=1, platform="invented"
)


@pytest.fixture
def trials(make_record):
    """A trial of the search and one that reads the test set."""
    seen = [observation.trial for observation in make_record().observations]
    return {trial.evaluate: trial for trial in seen}


@pytest.mark.parametrize(
    ("evaluate", "accuracies", "fits"),
    [
        ("test", {"test_accuracy": 0.5}, True),
        ("validation", {"validation_accuracy": 0.5}, True),
        ("test", {"validation_accuracy": 0.5}, False),
        ("validation", {"test_accuracy": 0.5}, False),
        ("test", {}, False),
        ("test", {"test_accuracy": 0.5, "validation_accuracy": 0.5}, False),
    ],
)
def test_a_trial_holds_the_accuracy_it_read_and_no_other(
    trials, evaluate, accuracies, fits
) -> None:
    values = {
        "trial": trials[evaluate],
        "outcome": {**accuracies, "steps": 3},
        "environment": ENVIRONMENT,
        "seconds": 1.0,
    }
    if fits:
        assert Observation.model_validate(values).key == trials[evaluate].key
    else:
        with pytest.raises(ValidationError, match="holds that accuracy alone"):
            Observation.model_validate(values)


@pytest.mark.parametrize("accuracy", [28.3, -0.1, float("nan"), "0.5", True])
def test_an_accuracy_is_a_fraction(accuracy) -> None:
    with pytest.raises(ValidationError):
        Outcome(test_accuracy=accuracy, steps=1)


def test_a_training_without_a_finite_loss_has_diverged() -> None:
    assert Outcome(test_accuracy=0.1, train_loss=None, steps=1).diverged
    assert not Outcome(test_accuracy=0.1, train_loss=0.0, steps=1).diverged
