from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddranking.errors import BadProtocol
from ddranking.protocol.plan import Entry, Plan, RealCopy, make_plan
from ddranking.protocol.recipe import find_recipe
from ddranking.protocol.track import find_track
from ddranking.protocol.trial import Trial

PIXEL, STANDARDIZED = {"kind": "pixel"}, {"kind": "standardized", "mean": [0.5], "std": [0.2]}
ENTRY = Entry("sha256:" + "a" * 64, PIXEL, learning_rate=0.02)
REAL = RealCopy("sha256:" + "d" * 64, STANDARDIZED)
TRACK = find_track("digits-ipc10-convnet2", ["seeds=3", "hard.learning_rate=[0.1, 0.01, 0.03]"])
RATES = (0.1, 0.01, 0.03)
ARMS = ("real_hard", "syn_hard", "syn_any", "rdm_any", "rdm_hard")


RULES = ["seeds=4", "hard.learning_rate=[0.1, 0.01, 0.03, 0.3, 1.0]"]
FULL = find_track("digits-ipc10-convnet2", RULES)
HALVING = find_track("digits-ipc10-convnet2", [*RULES, "selection=halving"])


def plan(recipe="unified-digits", changes=(), entry=ENTRY, arms=ARMS, track=TRACK) -> Plan:
    rules = find_recipe(recipe).resolve(track.dataset, track.ipc, changes)
    return make_plan(track, rules, entry, REAL, arms=arms)


PLAN = plan()
HARD = PLAN.arm("syn_hard")
assert HARD is not None


def made_up(trial: Trial) -> float:
    """An accuracy that depends on the trial alone, as a training's does."""
    return int(trial.key[:4], 16) / 0xFFFF


def finished(made: Plan) -> dict[str, float]:
    """Accuracies of every trial that a whole run of a plan trains, one after another."""
    validation: dict[str, float] = {}
    done: dict[str, float] = {}
    while pending := made.pending(validation, done):
        trial = pending[0]
        done[trial.key] = made_up(trial)
        if trial.evaluate == "validation":
            validation[trial.key] = made_up(trial)
    return done


WHOLE_RUN = finished(PLAN)
HALVED = plan(track=HALVING)
EITHER = {"full": (PLAN, WHOLE_RUN), "halving": (HALVED, finished(HALVED))}
either = pytest.mark.parametrize("rule", EITHER)


# --- What is planned ------------------------------------------------------------------------------


def test_a_search_is_every_rate_for_every_seed_on_validation() -> None:
    seen = [(trial.rate, trial.seed, trial.evaluate) for trial in HARD.search]
    assert seen == [(rate, seed, "validation") for rate in RATES for seed in range(3)]
    assert HARD.total == 3 * 3 + 3
    assert PLAN.total == sum(arm.total for arm in PLAN.arms) == len(WHOLE_RUN)


def test_every_arm_has_its_own_rules_and_images() -> None:
    whole, syn_hard, syn_any, rdm_any, rdm_hard = (arm.finals(0.5)[1] for arm in PLAN.arms)
    own = PLAN.recipe.training.model_copy(update={"learning_rate": 0.5})
    hard = TRACK.hard.model_copy(update={"learning_rate": 0.5})
    assert syn_hard.training == rdm_hard.training == hard
    assert syn_any.training == rdm_any.training == own
    assert whole.training == TRACK.whole.model_copy(update={"learning_rate": 0.5})
    assert {syn_hard.training_set, syn_any.training_set} == {syn_any.training_set}
    assert syn_any.training_set.digest == ENTRY.digest
    assert rdm_any.training_set.ipc == rdm_hard.training_set.ipc == 10
    assert whole.space == STANDARDIZED
    assert {str(each.space) for each in (syn_hard, syn_any, rdm_any, rdm_hard)} == {str(PIXEL)}
    assert {each.student for each in (whole, syn_hard, rdm_any)} == {TRACK.student}
    assert all(each.seed == 1 and each.dataset == REAL.digest for each in (whole, syn_any))


def test_synthetic_and_random_images_have_the_same_budget() -> None:
    for pair in (("syn_any", "rdm_any"), ("syn_hard", "rdm_hard")):
        one, other = (PLAN.arm(name) for name in pair)
        assert one is not None and other is not None
        assert (one.rates, one.training, one.seeds) == (other.rates, other.training, other.seeds)


def test_shared_arms_are_the_same_trials_for_every_entry() -> None:
    other = plan(entry=Entry("sha256:" + "b" * 64, PIXEL, learning_rate=0.5))
    for name in ("real_hard", "rdm_any", "rdm_hard"):
        keys = [[trial.key for trial in made.arm(name).finals(0.1)] for made in (PLAN, other)]
        assert keys[0] == keys[1]
    assert PLAN.arm("syn_any").finals(0.1) != other.arm("syn_any").finals(0.1)


def test_a_single_rate_needs_no_search() -> None:
    arm = plan("dc").arm("syn_any")
    assert (arm.search, arm.total, arm.selected({})) == ([], 3, 0.01)
    assert [trial.rate for trial in arm.pending({}, {})] == [0.01] * 3


def test_a_stored_rate_is_that_of_the_set() -> None:
    arm = plan("mtt").arm("syn_any")
    assert arm.rates == (0.02,)
    assert plan("mtt").arm("rdm_any").rates == (0.02,)


def test_a_stored_rate_that_is_missing_is_bad_input() -> None:
    with pytest.raises(BadProtocol, match=r"carries its learning rate.*--learning-rate"):
        plan("mtt", entry=Entry(ENTRY.digest, PIXEL))
    assert plan("mtt", entry=Entry(ENTRY.digest, PIXEL), arms=("syn_hard",)).total == 12


def test_stored_labels_that_are_missing_or_of_the_wrong_kind_are_bad_input() -> None:
    bare = replace(ENTRY, soft_label_kind=None)
    with pytest.raises(BadProtocol, match=r"carries soft labels.*--soft-label-kind"):
        plan("datm", entry=bare)
    assert plan("datm", entry=bare, arms=("syn_hard", "real_hard")).total == 3 * 3 + 3 + 3
    logits, odds = (replace(ENTRY, soft_label_kind=k) for k in ("logits", "probabilities"))
    assert plan("datm", entry=logits).arm("syn_any").rates == (0.02,)
    assert plan("datm", entry=odds).arm("syn_any").training.labels.kind == "stored"
    squared = ["loss={kind: mse_gt}"]
    assert plan("datm", squared, logits).arm("syn_any").training.loss.kind == "mse_gt"
    with pytest.raises(BadProtocol, match=r"logits.*got probabilities"):
        plan("datm", squared, odds)


def test_one_score_never_mixes_two_precisions() -> None:
    with pytest.raises(BadProtocol, match=r"precision fp32.*got bf16.*--set precision=fp32"):
        plan("dc", ["precision=bf16"])
    with pytest.raises(BadProtocol, match=r"whole\.precision: expected bf16, that of hard"):
        find_track("digits-ipc10-convnet2", ["hard.precision=bf16"])
    changes = ["hard.precision=bf16", "whole.precision=bf16"]
    short = find_track("digits-ipc10-convnet2", changes)
    made = plan("dc", ["precision=bf16"], track=short)
    assert {arm.training.precision for arm in made.arms} == {"bf16"}
    assert "bf16" in made.arms[0].finals(0.1)[0].model_dump_json()
    with pytest.raises(BadProtocol, match=r"precision bf16.*got fp32.*--set precision=bf16"):
        plan("dc", track=short)


def test_only_the_arms_asked_for_are_planned() -> None:
    made = plan(arms=("syn_hard", "rdm_any"))
    assert [arm.arm for arm in made.arms] == ["syn_hard", "rdm_any"]
    assert made.arm("real_hard") is None


# --- Selection ------------------------------------------------------------------------------------

ACCURACIES = st.lists(
    st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.5]),
    min_size=len(HARD.search),
    max_size=len(HARD.search),
)


@given(ACCURACIES)
def test_the_best_mean_over_seeds_wins_and_a_tie_goes_to_the_smaller_rate(accuracies) -> None:
    validation = dict(zip((trial.key for trial in HARD.search), accuracies, strict=True))
    means = {
        rate: fmean(validation[trial.key] for trial in HARD.search if trial.rate == rate)
        for rate in RATES
    }
    best = min(rate for rate in RATES if means[rate] == max(means.values()))
    assert HARD.selected(validation) == best
    assert HARD.standing(validation).means == means


def test_nothing_is_selected_before_the_search_is_whole() -> None:
    validation = {trial.key: 0.5 for trial in HARD.search}
    missing = HARD.search[4]
    del validation[missing.key]
    assert HARD.selected(validation) is None
    assert HARD.pending(validation, validation) == [missing]


def test_the_test_set_is_read_once_for_the_selected_rate() -> None:
    validation = {trial.key: 0.5 + trial.rate for trial in HARD.search}
    pending = HARD.pending(validation, validation)
    assert [(trial.rate, trial.seed, trial.evaluate) for trial in pending] == [
        (0.1, seed, "test") for seed in range(3)
    ]
    assert HARD.pending(validation, validation | {trial.key: 1 for trial in pending}) == []


def test_halving_trains_each_rung_when_the_one_before_is_known() -> None:
    arm = HALVED.arm("syn_hard")
    assert arm is not None
    assert [(rung.rates, rung.seeds) for rung in arm.rungs] == [(5, 1), (3, 2), (2, 4)]
    assert (arm.total, len(arm.search)) == (5 + 3 + 2 * 2 + 4, 20)
    order = {0.03: 5, 1.0: 4, 0.1: 3, 0.01: 2, 0.3: 1}
    validation = {}
    steps = []
    while arm.selected(validation) is None:
        pending = arm.pending(validation, validation)
        steps.append({(trial.rate, trial.seed) for trial in pending})
        assert {trial.evaluate for trial in pending} == {"validation"}
        validation |= {trial.key: order[trial.rate] / 10 for trial in pending}
    assert steps == [
        {(rate, 0) for rate in order},
        {(0.03, 1), (1.0, 1), (0.1, 1)},
        {(rate, seed) for rate in (0.03, 1.0) for seed in (2, 3)},
    ]
    assert {trial.rate for trial in arm.pending(validation, validation)} == {0.03}
    assert {trial.key for trial in arm.asked(validation)} == validation.keys()


def test_every_arm_that_searches_does_it_by_the_rule_of_the_track() -> None:
    assert {arm.selection for arm in HALVED.arms} == {"halving"}
    assert HALVED.total == len(EITHER["halving"][1]) < len(finished(plan(track=FULL)))
    trials = {trial.key for arm in plan(track=FULL).arms for trial in arm.search}
    assert {trial.key for arm in HALVED.arms for trial in arm.search} == trials


def test_what_is_known_beyond_the_rungs_changes_nothing() -> None:
    """Of a store that holds the full search, halving uses what it would have trained itself."""
    arm = HALVED.arm("syn_hard")
    assert arm is not None
    everything = {trial.key: made_up(trial) for trial in arm.search}
    own = {trial.key: everything[trial.key] for trial in arm.asked(everything)}
    assert len(own) == 12
    assert arm.selected(own) == arm.selected(everything)
    assert arm.asked(own) == arm.asked(everything)


# --- Any interleaving, with kills -----------------------------------------------------------------


@either
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_any_order_with_kills_and_shards_ends_with_the_same_trials(rule, chance, shards) -> None:
    """Shards train random parts of what is pending and are killed anywhere."""
    made, whole_run = EITHER[rule]
    stored: dict[str, Trial] = {}
    trained: list[str] = []

    def validation() -> dict[str, float]:
        seen = stored.values()
        return {trial.key: made_up(trial) for trial in seen if trial.evaluate == "validation"}

    rounds = 0
    while pending := made.pending(validation(), stored):
        rounds += 1
        mine = pending
        if rounds < 30:  # then one run without shards or kills ends it
            part = chance.randrange(shards)
            mine = [trial for trial in pending if int(trial.key[:12], 16) % shards == part]
            chance.shuffle(mine)
            mine = mine[: chance.randrange(len(mine) + 1)]
        for trial in mine:
            stored[trial.key] = trial
            trained.append(trial.key)
    assert stored.keys() == whole_run.keys()
    assert len(trained) == len(set(trained))


@either
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_run_resumes_from_any_subset(rule, data) -> None:
    """Even one that no run would leave: finals without their search."""
    made, whole_run = EITHER[rule]
    known = data.draw(st.sets(st.sampled_from(sorted(whole_run))))
    done = {key: whole_run[key] for key in known}
    searches = {trial.key for arm in made.arms for trial in arm.search}
    fresh = []
    while pending := made.pending({k: v for k, v in done.items() if k in searches}, done):
        assert not done.keys() & {trial.key for trial in pending}
        for trial in pending:
            done[trial.key] = made_up(trial)
            fresh.append(trial.key)
    assert done.keys() == whole_run.keys()
    assert set(fresh) == whole_run.keys() - known
