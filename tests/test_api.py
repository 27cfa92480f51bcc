import subprocess
import sys

import pytest

import ddranking
from ddranking import api
from ddranking.errors import BadInput, BadProtocol, UnknownName
from ddranking.protocol.recipe import find_recipe
from ddranking.protocol.track import find_track

CHANGES = (
    "epochs=1",
    "learning_rate=0.1",
    "augmentation=[]",
    "track.hard.epochs=1",
    "track.hard.learning_rate=0.1",
    "track.whole.epochs=1",
    "track.student=mlp",
)
TRACK, RECIPE = "digits-ipc1-convnet2", "unified-digits"


def test_importing_the_package_imports_no_torch() -> None:
    """Nor does looking at what it holds, or reading a rule."""
    code = (
        "import sys, ddranking; dir(ddranking); ddranking.Track; ddranking.Recipe;"
        "ddranking.load_record; ddranking.Rules('cifar10-ipc1-convnet3', 'dc').resolve();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_every_public_name_is_there() -> None:
    for name in ddranking.__all__:
        assert getattr(ddranking, name) is not None
    assert dir(ddranking) == sorted(ddranking.__all__)
    assert set(ddranking._HOMES) < set(ddranking.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = ddranking.nothing


# --- Rules ----------------------------------------------------------------------------------------


def test_rules_by_name_and_by_object_are_the_same() -> None:
    named = api.Rules(TRACK, RECIPE).resolve()
    track = find_track(TRACK)
    recipe = find_recipe(RECIPE).resolve(track.dataset, track.ipc)
    assert api.Rules(track, recipe).resolve() == named == (track, recipe)


def test_changes_go_to_the_recipe_or_with_a_prefix_to_the_track() -> None:
    track, recipe = api.Rules(TRACK, RECIPE, seeds=3, changes=CHANGES).resolve()
    assert (track.seeds, track.hard.epochs, track.student, track.custom) == (3, 1, "mlp", True)
    assert (recipe.training.epochs, recipe.training.augmentation) == (1, ())
    again = api.Rules(find_track(TRACK), recipe, seeds=3, changes=CHANGES).resolve()
    assert again == (track, recipe)
    assert find_track(TRACK).seeds == 5


def test_a_users_own_files_stand_for_names(tmp_path) -> None:
    rules = "epochs: 3\n  batch_size: 9\n  learning_rate: 0.1\n"
    recipe, track = tmp_path / "mine.yaml", tmp_path / "track.yaml"
    recipe.write_text(f"name: mine\nsource: my own\ntraining:\n  {rules}")
    track.write_text(
        f"name: mine\ndataset: digits\nipc: 1\nstudent: mlp\nwhole: whole@1\nhard:\n  {rules}"
    )
    seen = api.Rules(str(track), str(recipe)).resolve()
    assert (seen[0].id, seen[1].id, seen[0].hard.epochs) == ("mine@1", "mine@1", 3)


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        (api.Rules("digit-ipc1-convnet2", RECIPE), UnknownName),
        (api.Rules(TRACK, "dcc"), UnknownName),
        (api.Rules(TRACK, RECIPE, seeds=1), BadProtocol),
        (api.Rules(TRACK, RECIPE, changes=["track.bogus=1"]), BadProtocol),
        (api.Rules(TRACK, RECIPE, changes=["bogus=1"]), BadProtocol),
        (api.Rules(TRACK, RECIPE, changes=["track.=1"]), BadProtocol),
    ],
)
def test_rules_that_are_none(rules, kind) -> None:
    with pytest.raises(kind):
        rules.resolve()


# --- Scoring --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return api.dataset("digits")


def test_a_dataset_is_a_name_or_an_object(digits) -> None:
    assert api.dataset(digits) is digits
    assert api.dataset("digits").digest == digits.digest
    with pytest.raises(UnknownName, match="Did you mean 'digits'"):
        api.dataset("digit")


def test_a_score_from_a_file_and_from_an_object(digits, tmp_path) -> None:
    from ddranking.distilled.artifact import save
    from ddranking.methods.baselines import make

    made = make("random", digits, 1)
    save(made, tmp_path / "set.safetensors")
    assert api.load(tmp_path / "set.safetensors").digest == made.digest
    common = {"track": TRACK, "recipe": RECIPE, "seeds": 2, "changes": CHANGES, "workers": 1}
    common |= {"device": "cpu", "store": tmp_path / "store", "data": digits}
    seen: list[str] = []

    class Watcher(api.Silent):
        def finished(self, trial) -> None:
            seen.append(trial.key)

    record = ddranking.score(made, watcher=Watcher(), **common)
    assert len(seen) == len(record.observations) == 8
    again = ddranking.score(str(tmp_path / "set.safetensors"), watcher=Watcher(), **common)
    assert len(seen) == 8, "everything was known"
    assert again.scores == record.scores
    assert (record.ddrs(0.5).n, record.hlr.n, record.ior.n) == (2, 2, 2)
    more = ddranking.score(made, watcher=Watcher(), rdm_hard=True, **common)
    assert len(seen) == 10
    assert "rdm_hard" in more.accuracy


def test_a_misspelt_option_is_a_type_error(digits) -> None:
    with pytest.raises(TypeError, match="worker"):
        ddranking.score("x", track=TRACK, recipe=RECIPE, worker=2)


@pytest.mark.parametrize("runtime", [{"workers": 0}, {"workers": -3}, {"device": "tpu"}])
def test_workers_and_devices_that_are_none(runtime) -> None:
    with pytest.raises(BadInput):
        api.pool(None, api.Runtime(**runtime))


def test_workers_are_spread_over_the_devices(monkeypatch) -> None:
    import torch

    from ddranking.running import local

    two = [torch.device("cuda", 0), torch.device("cuda", 1)]
    monkeypatch.setattr(local, "devices", lambda name: two)
    assert api.pool(None, api.Runtime()).places == tuple(two)
    assert api.pool(None, api.Runtime(workers=3)).places == (*two, two[0])
    monkeypatch.setattr(local, "devices", lambda name: [torch.device("cpu")])
    monkeypatch.setattr(local, "cores", lambda: 4)
    assert len(api.pool(None, api.Runtime()).places) == 4
