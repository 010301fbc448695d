"""Detectors: targets, losses, what they learn, the contract that all of them keep."""

import pytest
import torch
from boxed_digits import digits_on_canvas

from augment.data.boxed_images import BoxedImages
from augment.detectors import DETECTORS
from augment.detectors.centernet import STRIDE, CenterNet, corners_of
from augment.detectors.detections import MOST_DETECTIONS, keep_best, padded
from augment.detectors.targets import focal_loss, giou, make_targets, points_of
from augment.errors import UsageError
from augment.metrics.detection import detection_scores
from augment.metrics.matching import match
from augment.training.learner import seeded_init
from augment.training.loop import fit, train
from augment.training.recovery import update_in_parts
from augment.training.serialization import (
    finite_state,
    full_state,
    load_full_state,
    load_learner,
    save_learner,
)
from augment.training.training_set import TrainingSet
from augment.transforms.boxed import BOXED
from augment.transforms.geometric import CLASSIC

CPU = torch.device("cpu")


def small(name, steps=3):
    settings = DETECTORS[name].presets["smoke"] | {"steps": steps, "batch": 2}
    return DETECTORS[name](**settings)


def learnt(data, kind="document"):
    return TrainingSet((data,), (1.0,), (CLASSIC["none"],), mix_batch=BOXED[kind])


def test_targets_of_two_boxes():
    boxes = torch.tensor([[[1.0, 8, 8, 24, 24], [-1, 0, 0, 0, 0], [0, 14, 10, 22, 18]]])
    targets = make_targets(boxes, 2, (8, 10), STRIDE)
    assert targets.heat.shape == (1, 2, 8, 10)
    # one point of a class says 1: that nearest to the centre, (16, 16) and (18, 14)
    assert (targets.heat == 1).nonzero().tolist() == [[0, 0, 3, 4], [0, 1, 4, 4]]
    assert float(targets.n_boxes) == 2
    assert targets.boxes[0, 3, 4].tolist() == [14, 10, 22, 18]
    owners = targets.boxes[0, ..., 0][targets.weights[0] > 0]
    assert set(owners.tolist()) == {8, 14}
    for left in (8, 14):
        mine = targets.boxes[0, ..., 0] == left
        assert float(targets.weights[0][mine].sum()) == pytest.approx(1)


def test_pictures_without_boxes_have_no_targets():
    targets = make_targets(torch.full((2, 3, 5), -1.0), 2, (4, 4), STRIDE)
    assert not targets.heat.any()
    assert not targets.weights.any()
    assert float(targets.n_boxes) == 1


def test_a_point_on_the_border_stays_on_the_map():
    boxes = torch.tensor([[[0.0, 30, 30, 32, 32], [0, 0, 0, 1, 1]]])
    heat = make_targets(boxes, 1, (8, 8), STRIDE).heat[0, 0]
    assert (heat == 1).nonzero().tolist() == [[0, 0], [7, 7]]


def test_overlap_equals_that_of_torchvision():
    from torchvision.ops import generalized_box_iou

    rng = torch.Generator().manual_seed(0)
    low, side = torch.rand(2, 50, 2, generator=rng) * 20, torch.rand(2, 50, 2, generator=rng) * 20
    a, b = torch.cat([low, low + side], -1)
    assert torch.allclose(giou(a, b), generalized_box_iou(a, b).diagonal(), atol=1e-5)


def test_the_loss_is_least_where_heat_and_map_agree():
    heat = torch.tensor([0.0, 0.4, 1.0]).view(1, 1, 1, 3)
    right, wrong = torch.tensor([-9.0, -9, 9]), torch.tensor([9.0, -9, -9])
    assert float(focal_loss(right.view(1, 1, 1, 3), heat)) < 0.01
    assert float(focal_loss(wrong.view(1, 1, 1, 3), heat)) > 10


def test_a_map_is_read_as_it_was_made():
    x, y = points_of(5, 7, STRIDE, CPU)
    assert x.tolist()[:2] == [2, 6]
    assert len(y) == 5
    sides = torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1).expand(1, 4, 5, 7)
    assert corners_of(sides)[0, 1, 2].tolist() == [9, 4, 13, 10]


def test_of_overlapping_detections_of_a_class_the_best_is_kept():
    scores, boxes = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 4)
    boxes[0, 0, 0], boxes[0, 0, 1] = torch.tensor([[0.0, 0, 10, 10], [1, 0, 10, 10]])
    boxes[0, 1, 1] = torch.tensor([-4.0, 20, 90, 30])
    scores[0, :, 0, 0] = torch.tensor([0.9, 0.3])
    scores[0, 0, 0, 1], scores[0, 0, 1, 1] = 0.8, 0.7
    found = keep_best(scores, boxes, (32, 32))
    assert found.shape == (1, MOST_DETECTIONS, 6)
    kept = found[0][found[0, :, 0] >= 0]
    assert kept[:, 0].tolist() == [0, 0, 1]
    assert kept[:, 1].tolist() == pytest.approx([0.9, 0.7, 0.3])
    assert kept[1, 2:].tolist() == [0, 20, 32, 30]  # clipped to the picture


def test_no_more_than_a_hundred_detections_are_kept():
    many = torch.arange(120.0)
    rows = padded(torch.zeros(120), 1 - many / 200, torch.zeros(120, 4))
    assert rows.shape == (MOST_DETECTIONS, 6)
    assert float(rows[-1, 1]) == pytest.approx(1 - 99 / 200)


def test_a_detector_learns_where_digits_are_and_which():
    data = digits_on_canvas(12, side=64, seed=3, classes=2)
    learner = CenterNet(steps=150, batch=4, width=16)
    fit(learner, learnt(data, "none"), seed=1, device=CPU)
    found = match(learner.predict(data.images).numpy(), data.labels.numpy(), 2)
    scores = detection_scores(found, 0.3)
    assert scores["ap50"] > 0.9
    assert min(scores["precision"], scores["recall"]) > 0.7


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_keeps_the_contract(name, tmp_path):
    data = digits_on_canvas(4, side=64, seed=1, n_negatives=1)
    learner = small(name)
    learner.prepare(data, seed=1, device=CPU)
    taken = [dict(metrics) for _, metrics in train(learner, learnt(data), seed=1, device=CPU)]
    assert len(taken) == 3
    assert all(value.isfinite() for metrics in taken for value in metrics.values())
    found = learner.predict(data.images, chunk=3)
    assert found.shape == (4, MOST_DETECTIONS, 6)
    assert found.dtype == torch.float32
    real = found[found[..., 0] >= 0]
    assert ((real[:, 0] < 10) & (real[:, 1] > 0) & (real[:, 1] <= 1)).all()
    assert ((real[:, 2:] >= 0) & (real[:, 2:] <= 64)).all()
    assert (found[:, 1:, 1] <= found[:, :-1, 1]).all()
    assert learner.predict(data.images[:0]).shape == (0, MOST_DETECTIONS, 6)
    save_learner(learner, name, data, tmp_path)
    read = load_learner(DETECTORS, tmp_path, CPU)
    assert torch.equal(read.predict(data.images, chunk=3), found)


def test_a_resumed_detector_equals_an_unbroken_one():
    data = learnt(digits_on_canvas(4, side=64, seed=1))
    whole, half, resumed = (small("centernet") for _ in range(3))
    fit(whole, data, seed=1, device=CPU)
    half.prepare(data.parts[0], seed=1, device=CPU)
    for step, _ in train(half, data, seed=1, device=CPU):
        if step == 2:
            break
    state = finite_state(half, 2)
    resumed.prepare(data.parts[0], seed=9, device=CPU)
    load_full_state(resumed, state)
    for _ in train(resumed, data, seed=1, device=CPU, start=2):
        pass
    assert all(torch.equal(a, full_state(resumed)[k]) for k, a in full_state(whole).items())


def test_a_batch_in_parts_is_learnt_too():
    data = digits_on_canvas(4, side=64, seed=1)
    learner = CenterNet(steps=3, batch=4, width=16)
    learner.prepare(data, seed=1, device=CPU)
    images = data.images.float() / 127.5 - 1
    rng = torch.Generator().manual_seed(0)
    metrics = update_in_parts(learner, 2, images, data.labels, step=0, rng=rng)
    assert metrics["loss"].isfinite()


@pytest.mark.parametrize("shape", [(1, 50, 70), (3, 33, 97)])
def test_pictures_of_any_shape_are_taken(shape):
    images = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    labels = torch.tensor([[[0.0, 4, 4, 20, 20]]]).expand(3, 1, 5).contiguous()
    data = BoxedImages(images, labels, ("thing",))
    learner = CenterNet(steps=2, batch=2, width=16)
    fit(learner, learnt(data, "any-orientation"), seed=1, device=CPU)
    found = learner.predict(images)
    height, width = shape[1:]
    assert (found[..., 2:] <= torch.tensor([width, height, width, height])).all()


def test_weights_of_resnet50_are_taken_and_others_refused():
    from torchvision.models import resnet50

    data = digits_on_canvas(2, side=64, seed=1)
    learner = small("fcos_resnet50_fpn")
    learner.prepare(data, seed=1, device=CPU)
    tensors = seeded_init(resnet50, 5).state_dict()
    learner.load_backbone(tensors, source="there", frozen=True)
    backbone = learner.modules["ema"].backbone.body
    assert torch.equal(backbone.layer4[2].conv3.weight, tensors["layer4.2.conv3.weight"])
    assert not any(p.requires_grad for p in learner.modules["net"].backbone.body.parameters())
    with pytest.raises(UsageError, match=r"'conv1\.weight' is missing there"):
        learner.load_backbone({}, source="there", frozen=False)
    for name in ("ssdlite320", "centernet"):
        with pytest.raises(UsageError, match="takes none"):
            small(name).load_backbone(tensors, source="there", frozen=False)
