"""What a CUDA graph needs of a step, and how one is called: shown without a GPU."""

import pytest
import torch
from conftest import bars
from fake_gpu import DEVICE, FakeGenerator, Guard, fake_gpu, move, on_gpu

from augment.classifiers import CLASSIFIERS
from augment.data.boxed_images import BoxedImages
from augment.data.subset import hide_labels
from augment.detectors import DETECTORS
from augment.experiment.arms import generator_set, training_set
from augment.experiment.filters import Evidence
from augment.experiment.hyperparameters import hyperparameters
from augment.experiment.mixing import falling, falling_own_norm
from augment.generators import GENERATORS
from augment.training import cuda_graphs, loop, optim
from augment.training.checkpoints import train_with_checkpoints
from augment.training.cuda_graphs import MOST_GRAPHS, UNRECORDED, GraphedFunction, Recording
from augment.training.loop import recordable, train
from augment.training.serialization import finite_state, full_state, load_full_state
from augment.transforms import operations
from augment.transforms.autoaugment import POLICIES
from augment.transforms.batch_mixing import BATCH_TRANSFORMS
from augment.transforms.geometric import CLASSIC

STEPS, BATCH, SHAPE = 6, 8, (3, 16, 16)
OF_A_FOLDER = ("pretrained", "finetune")  # networks of the user's own, never recorded
TRAINED = [n for n in GENERATORS if GENERATORS[n].presets["smoke"] and n not in OF_A_FOLDER]
LEARNERS = [(CLASSIFIERS, name) for name in CLASSIFIERS] + [(GENERATORS, n) for n in TRAINED]
CPU = torch.device("cpu")
FRESH = {"seed": 0, "device": CPU}


def small(registry, name, **changed):
    settings = hyperparameters(registry, name, "smoke", {})
    wanted = {"steps": STEPS, "batch": BATCH, "side": 16, "epochs": 1, "dropout": 0.1, **changed}
    return registry[name](**settings | {k: v for k, v in wanted.items() if k in settings})


def labels_of(kind):
    """Labels of eight images, of three classes: of each kind that a classifier takes."""
    labels = torch.arange(BATCH) % 3
    mixed = torch.nn.functional.one_hot(labels, 3).float()
    return {"plain": labels, "mixed": mixed, "with unlabelled": labels[:4]}[kind]


@pytest.fixture(autouse=True)
def _no_table_of_a_fake_gpu():
    optim._factor_table.cache_clear()
    yield
    optim._factor_table.cache_clear()


@pytest.fixture
def no_driver(monkeypatch):
    """Leave out the two calls that ask a driver for the GPU."""
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: None)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)


def step_on_fake_gpu(learner, labels, shape=SHAPE, **beside):
    """Take two steps: what the first copies to the GPU once, the second may not copy."""
    views = 2 * BATCH - len(labels) if len(labels) < BATCH else BATCH  # weak and strong ones
    with fake_gpu() as mode:
        learner = move(mode, learner)
        images, labels = on_gpu(mode, torch.zeros(views, *shape)), on_gpu(mode, labels)
        step = torch.zeros((), dtype=torch.int64, device=DEVICE)
        groups = [g for o in learner.optimisers.values() for g in o.param_groups]
        for optimiser in learner.optimisers.values():
            optim.allow_recording(optimiser)
            optimiser.zero_grad = lambda: None
        for weight in [weight for group in groups for weight in group["params"]]:
            weight.grad = torch.zeros_like(weight)
        for active in (False, True):
            with Guard(active):
                rng = FakeGenerator()
                metrics = learner.update(images, labels, step=step, rng=rng, **beside)
        assert all(value.device == DEVICE for value in metrics.values())


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize(("registry", "name"), LEARNERS, ids=lambda value: str(value)[:12])
def test_no_step_of_a_learner_waits(registry, name):
    learner = small(registry, name)
    if not getattr(learner, "recordable", True):
        pytest.skip("its updates differ in kind")
    learner.prepare(bars(6, ("a", "b", "c"), SHAPE), seed=0, device=CPU)
    step_on_fake_gpu(learner, labels_of("plain"))


@pytest.mark.usefixtures("no_driver")
def test_no_step_on_larger_images_waits():
    learner, shape = small(GENERATORS, "ddpm"), (3, 40, 48)
    learner.prepare(bars(6, ("a", "b", "c"), shape), seed=0, device=CPU)
    step_on_fake_gpu(learner, labels_of("plain"), shape)


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize("kind", ["mixed", "with unlabelled"])
@pytest.mark.parametrize("frozen", [False, True])
def test_no_step_waits_for_labels_of_any_kind(kind, frozen):
    learner = small(CLASSIFIERS, "resnet")
    learner.prepare(bars(6, ("a", "b", "c"), SHAPE), seed=0, device=CPU)
    learner.frozen = frozen
    step_on_fake_gpu(learner, labels_of(kind))


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize("kind", ["plain", "mixed", "with unlabelled"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_no_step_waits_for_rows_normalised_apart(name, kind):
    learner = small(CLASSIFIERS, name)
    learner.prepare(bars(6, ("a", "b", "c"), SHAPE), seed=0, device=CPU)
    step_on_fake_gpu(learner, labels_of(kind), apart=2)


@pytest.mark.usefixtures("no_driver")
def test_no_step_of_a_detector_waits():
    boxes = torch.full((BATCH, 3, 5), -1.0)
    boxes[:, 0] = torch.tensor([1.0, 2, 3, 12, 14])
    learner = small(DETECTORS, "centernet")
    learner.prepare(BoxedImages(torch.zeros(BATCH, *SHAPE).byte(), boxes, ("a", "b")), **FRESH)
    step_on_fake_gpu(learner, boxes)


@pytest.mark.usefixtures("no_driver")
def test_what_waits_is_seen():
    learner = small(CLASSIFIERS, "resnet")
    learner.prepare(bars(6, ("a", "b", "c"), SHAPE), seed=0, device=CPU)
    update = learner.update

    def waiting(images, labels, **beside):
        return update(images, labels[labels.nonzero()[:, 0]], **beside)

    learner.update = waiting
    with pytest.raises(Exception, match=r"nonzero|aten\.nonzero\.default"):
        step_on_fake_gpu(learner, labels_of("plain"))
    with fake_gpu() as mode, Guard(), pytest.raises(AssertionError, match="copies between"):
        on_gpu(mode, torch.zeros(3)).cpu()


TRANSFORMS = {
    **CLASSIC,
    **{f"{name} {strokes}": make(strokes) for name, make in POLICIES.items() for strokes in (0, 1)},
}


@pytest.mark.parametrize("shape", [SHAPE, (1, 12, 9)])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_transform_waits(name, shape):
    with fake_gpu() as mode:
        images = on_gpu(mode, torch.zeros(BATCH, *shape))
        for active in (False, True):
            with Guard(active):
                changed = TRANSFORMS[name](images, FakeGenerator())
    assert (changed.shape, changed.device) == (images.shape, DEVICE)


@pytest.mark.parametrize("name", BATCH_TRANSFORMS)
def test_no_batch_transform_waits(name):
    labels = labels_of("with unlabelled" if name in ("fixmatch", "pseudo-label") else "plain")
    with fake_gpu() as mode:
        images, labels = on_gpu(mode, torch.zeros(BATCH, *SHAPE)), on_gpu(mode, labels)
        with Guard():
            images, labels = BATCH_TRANSFORMS[name](images, labels, 3, FakeGenerator())
    assert images.device == labels.device == DEVICE


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("network", ["lean", "unet2d"])
def test_no_step_of_a_sampler_waits(network, guidance):
    learner = small(GENERATORS, "ddpm", network=network, guidance=guidance)
    learner.prepare(bars(6, ("a", "b", "c"), SHAPE), seed=0, device=CPU)
    inputs = labels_of("plain"), *torch.zeros(2, BATCH, 12, 8, 8), torch.tensor(3), torch.zeros(6)
    with torch.no_grad(), fake_gpu() as mode:
        learner = move(mode, learner)
        step, inputs = learner.graphed_step().function, [on_gpu(mode, x) for x in inputs]
        with Guard():
            results = step(*inputs)
    assert {name: tuple(value.shape) for name, value in results.items()} == {
        "x": (BATCH, 12, 8, 8),
        "x0": (BATCH, 12, 8, 8),
    }


@pytest.mark.parametrize("strokes", [False, True])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 12, 9), (3, 28, 28)])
@pytest.mark.parametrize("name", ["randaugment", "trivialaugment", "autoaugment"])
def test_operations_on_all_images_are_those_on_some(name, shape, strokes, monkeypatch):
    images = torch.rand(40, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    transform = POLICIES[name](strokes)
    expected = transform(images, torch.Generator().manual_seed(2))
    monkeypatch.setattr(operations, "_apply_to_some", operations._apply_to_all)
    assert torch.equal(transform(images, torch.Generator().manual_seed(2)), expected)


# what a graph does, without one


def record_nothing(function, inputs, rng, stream):
    """Stand in for `cuda_graphs.record`: computed at each replay, from the static inputs."""
    results = {}

    def replay():
        for name, value in function(*inputs).items():
            results.setdefault(name, value.clone()).copy_(value)

    return Recording(replay, inputs, results)


@pytest.fixture
def graphs(monkeypatch):
    """Replay graphs that are none, on the CPU."""
    monkeypatch.setattr(cuda_graphs, "record", record_nothing)
    monkeypatch.setattr(loop, "recordable", lambda learner, device: True)


def test_each_call_is_computed_once_and_its_results_are_kept(graphs):
    seen = []

    def double(x):
        seen.append(x.clone())
        return {"y": 2 * x}

    graphed = GraphedFunction(double, CPU, None)
    results = [graphed(torch.full((2,), float(k)))["y"] for k in range(9)]
    assert [x[0].item() for x in seen] == list(range(9))
    assert [y[0].item() for y in results] == [2.0 * k for k in range(9)]
    assert len(graphed.recordings) == 1


def test_inputs_of_other_shapes_have_their_own_graphs_and_the_oldest_make_room(graphs):
    graphed = GraphedFunction(lambda x: {"y": x + 1}, CPU, None)
    for turn in range(3 * UNRECORDED):
        for n in range(1, MOST_GRAPHS + 3):
            assert graphed(torch.full((n,), float(turn)))["y"].tolist() == [turn + 1.0] * n
            assert len(graphed.recordings) <= MOST_GRAPHS
    assert len(graphed.recordings) == MOST_GRAPHS


def test_what_a_replay_draws_follows_from_its_seed(graphs):
    rng = torch.Generator()
    net = torch.nn.Dropout()

    def draw(x):
        return {"own": torch.rand(3, generator=rng), "global": net(x)}

    graphed = GraphedFunction(draw, CPU, rng)
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    drawn = []
    for seed in (1, 2, 3, 4, 5, 6, 5):
        rng.manual_seed(seed)
        with cuda_graphs.seeded(rng):  # as `update` does in the calls that are not recorded
            drawn.append(graphed(torch.ones(50)))
    assert torch.equal(torch.rand(2), expected)
    for name in ("own", "global"):
        assert torch.equal(drawn[4][name], drawn[6][name])
        assert not torch.equal(drawn[4][name], drawn[5][name])


def test_a_recording_that_fails_is_said_and_the_steps_go_on(monkeypatch):
    def refuse(function, inputs, rng, stream):
        rng.manual_seed(99)  # as a recording may leave it
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(cuda_graphs, "record", refuse)
    rng = torch.Generator()
    graphed = GraphedFunction(lambda x: {"y": x + torch.rand(1, generator=rng)}, CPU, rng)
    found = []
    for _ in range(UNRECORDED):
        graphed(torch.zeros(1))
    rng.manual_seed(5)
    with pytest.warns(RuntimeWarning, match="no CUDA graph.*: operation not permitted .*ing$"):
        found.append(graphed(torch.zeros(1)))
    rng.manual_seed(5)
    found.append(graphed(torch.zeros(1)))  # neither tried nor said again
    assert torch.equal(found[0]["y"], found[1]["y"])
    assert not graphed.recordings


def trained(registry, name, stop=None, **changed):
    data = bars(6, ("a", "b", "c"), SHAPE)
    learner = small(registry, name, **changed)
    learnt = (
        training_set("real+classic+synth", data, bars(5, ("a", "b", "c"), SHAPE), "natural", 0.25)
        if registry is CLASSIFIERS
        else generator_set(data, "natural", learner.transformed)
    )
    learner.prepare(learnt.parts[0], seed=1, device=CPU)
    losses = []
    for step, metrics in train(learner, learnt, seed=1, device=CPU):
        losses.append(torch.stack(list(metrics.values())))
        if step == stop:
            break
    return learner, learnt, torch.stack(losses)


# resnet18 is slow, and its step is resnet's
GRAPHED = [(registry, n) for registry, n in LEARNERS if n not in ("resnet18", "b4-vae-cgan")]


@pytest.mark.parametrize(("registry", "name"), GRAPHED, ids=lambda value: str(value)[:12])
def test_a_replayed_step_is_the_step_of_its_number(registry, name, request):
    """A recording holds no rate and no weight of the step that it was made at."""
    _, _, expected = trained(registry, name)
    request.getfixturevalue("graphs")
    learner, _, found = trained(registry, name)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-4)  # rates in float32
    other, _, _ = trained(registry, name)
    assert all(torch.equal(a, full_state(other)[k]) for k, a in full_state(learner).items())


def test_rates_and_averages_are_read_at_each_replay(graphs):
    learner, _, _ = trained(CLASSIFIERS, "resnet", lr=0.1)
    rate = learner.optimisers["net"].param_groups[0]["lr"]
    assert float(rate) == pytest.approx(0.1 * optim.warmup_cosine(STEPS - 1, STEPS, warmup=0.2))


def test_the_rule_for_recording():
    gpu, resnet = torch.device("cuda"), small(CLASSIFIERS, "resnet")
    assert recordable(resnet, gpu)
    assert not recordable(resnet, CPU)
    assert not recordable(small(GENERATORS, "b4-vae-cgan"), gpu)
    for labelling, wanted in (("classifier", True), ("per-class", False)):
        gan = small(GENERATORS, "a1-gan", labelling=labelling)
        gan.prepare(bars(), seed=0, device=CPU)
        assert recordable(gan, gpu) == wanted


def test_unlabelled_images_come_without_labels():
    data = bars(6, ("a", "b", "c"), SHAPE)
    learnt = training_set("ssl", data, None, "natural", 0.0, hide_labels(data))
    shapes = []

    class Noting:
        steps, batch, modules, optimisers = 1, BATCH, {}, {}

        def update(self, images, labels, *, step, rng):
            shapes.append((len(images), len(labels)))
            return {}

    list(train(Noting(), learnt, seed=0, device=CPU))
    unlabelled = sum(learnt.counts(BATCH)) - BATCH
    assert shapes == [(BATCH + 2 * unlabelled, BATCH)]


def test_a_resumed_training_equals_an_unbroken_one(graphs):
    whole, _, _ = trained(CLASSIFIERS, "resnet")
    half, data, _ = trained(CLASSIFIERS, "resnet", stop=2)
    state = finite_state(half, 2)
    resumed = small(CLASSIFIERS, "resnet")
    resumed.prepare(data.parts[0], seed=9, device=CPU)
    load_full_state(resumed, state)
    for _ in train(resumed, data, seed=1, device=CPU, start=2):
        pass
    assert all(torch.equal(a, full_state(resumed)[k]) for k, a in full_state(whole).items())


def test_recovery_halves_the_rate_of_later_recordings(graphs, tmp_path):
    learner = small(CLASSIFIERS, "resnet", steps=30)
    data = training_set("real", bars(6, ("a", "b", "c"), SHAPE), None, "none", 0.0)
    learner.prepare(data.parts[0], seed=1, device=CPU)
    update, broken = learner.update, []

    def failing(*args, step, rng):
        metrics = update(*args, step=step, rng=rng)
        if int(step) == 14 and not broken:
            broken.append(step)
            return {"loss": metrics["loss"] * float("nan")}
        return metrics

    learner.update = failing
    states = list(train_with_checkpoints(learner, data, seed=1, device=CPU, folder=tmp_path))
    assert states[-1].step == 30
    rate = float(learner.optimisers["net"].param_groups[0]["lr"])
    full = learner.lr * optim.warmup_cosine(29, 30, warmup=0.2)
    assert states[-1].changed["retried"] == 10  # the last log point before it
    assert rate == pytest.approx(full / 2)


@pytest.mark.parametrize("mixing", [falling, falling_own_norm])
def test_batches_whose_parts_change_in_size_are_recorded_too(mixing, request):
    data, synthetic = bars(6, ("a", "b", "c"), SHAPE), bars(5, ("a", "b", "c"), SHAPE, seed=2)
    both = training_set("real+classic+synth", data, synthetic, "natural", 0.5)
    nothing = Evidence(*torch.zeros(4, 1).unbind(), trust=1.0)  # these two ask for none
    learnt = mixing(both, nothing)
    losses = []
    for graphed in (False, True):
        if graphed:
            request.getfixturevalue("graphs")
        learner = small(CLASSIFIERS, "resnet", steps=60, lr=0.01, batch=32)
        learner.prepare(data, seed=1, device=CPU)
        taken = [m["loss"] for _, m in train(learner, learnt, seed=1, device=CPU)]
        losses.append(torch.stack(taken))
    assert len({tuple(learnt.counts(32, (s + 0.5) / 60)) for s in range(60)}) > MOST_GRAPHS
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=2e-3)
