"""An ensemble of classifiers that share the steps of one."""

import pytest
import torch
from conftest import bars

import augment
from augment.classifiers import CLASSIFIERS
from augment.classifiers.blocks import Ensemble
from augment.experiment.arms import training_set
from augment.experiment.cells import expand
from augment.experiment.hyperparameters import hyperparameters
from augment.experiment.stages import new_learner
from augment.experiment.validation import make_recipe
from augment.training.loop import train

SETTINGS = dict(steps=7, batch=8, width=16, members=3)


def trained(cpu, upto):
    """An ensemble of three after `upto` of 7 steps."""
    data = bars(24)
    learner = CLASSIFIERS["resnet"](**SETTINGS)
    learner.prepare(data, seed=1, device=cpu)
    parts = training_set("real+ensemble", data, None, "none", 0.0)
    for step, _ in train(learner, parts, seed=1, device=cpu):
        if step == upto:
            return learner, data
    raise AssertionError(upto)


def weights(net):
    return [tensor.clone() for tensor in net.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_members_learn_in_turn_and_share_the_steps(cpu):
    ensemble = Ensemble([torch.nn.Identity() for _ in range(3)])
    turns = [ensemble.turn(step, 7) for step in range(7)]
    assert turns == [(0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2), (2, 0, 3), (2, 1, 3), (2, 2, 3)]
    early, later = trained(cpu, 2)[0].modules["net"], trained(cpu, 7)[0].modules["net"]
    assert same(weights(early.members[0]), weights(later.members[0]))
    assert not same(weights(early.members[1]), weights(later.members[1]))
    assert not same(weights(early.members[0]), weights(early.members[1]))


def test_the_mean_of_the_members_probabilities_is_predicted(cpu):
    learner, data = trained(cpu, 7)
    found = torch.cat(list(learner.predict(data.images)))
    each = []
    for member in learner.modules["ema"].members:
        logits = torch.cat(list(learner.forward_chunks(member, data.images, 512)))
        each.append(logits.softmax(1))
    torch.testing.assert_close(found, torch.stack(each).mean(0))
    assert found.sum(1).tolist() == pytest.approx([1.0] * len(data))


def test_the_arm_alone_says_that_there_are_members():
    cells = expand(
        make_recipe(arm="real+classic,real+ensemble,real+ensemble+synth").resolved("cpu")
    )
    assert [new_learner(cell).members for cell in cells[:3]] == [1, 3, 3]
    assert len({repr(cell.classifier_settings) for cell in cells}) == 1
    assert "members" not in hyperparameters(CLASSIFIERS, "airbench", "quick", {})
    assert not new_learner(cells[1]).recordable


def test_a_run_compares_with_an_ensemble_of_equal_steps(small_run):
    arms = "real+classic,real+classic+synth,real+ensemble,real+ensemble+synth"
    found = augment.run(**small_run | {"arm": arms, "seeds": 1})
    assert found.failed == 0
    assert found.table["steps"].nunique() == 1
    against = found.summary.set_index("arm")["against"].to_dict()
    assert against["real+ensemble"] == "real+classic"
    assert against["real+ensemble+synth"] == "real+ensemble"
