"""The guard against wrong bf16: what it finds, that it always does, and what a run makes of it."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from conftest import bars

import augment
from augment.classifiers import CLASSIFIERS
from augment.experiment.cells import expand
from augment.experiment.context import RunContext
from augment.experiment.hyperparameters import hyperparameters
from augment.experiment.precision import resolve_precision
from augment.experiment.validation import make_recipe
from augment.generators import GENERATORS
from augment.runtime.steps import Steps
from augment.storage.artifacts import Store
from augment.training import bf16_guard as precision
from augment.training import bf16_probe as probe
from augment.training.bf16_guard import known_fault, safe_precision, trained_settings
from augment.training.bf16_probe import (
    CONVOLUTIONS,
    OUTPUTS,
    Call,
    Layout,
    calls_of,
    worst_slice,
    wrong_output,
)
from augment.training.loop import train
from augment.training.serialization import full_state
from augment.training.training_set import TrainingSet
from augment.transforms.geometric import CLASSIC

ENTRIES = [(GENERATORS, n) for n in GENERATORS] + [(CLASSIFIERS, n) for n in CLASSIFIERS]
SHAPES = [(1, 40, 9), (3, 9, 40)]
EXTREME = [(1, 64, 5), (3, 5, 64), (1, 5, 5), (3, 64, 64)]
POOLED_AWAY = {"airbench"}  # its three poolings leave nothing of 5 pixels a side


@pytest.fixture(autouse=True)
def _with_a_pipeline(own_pipelines, monkeypatch):
    """For the generators that need one."""
    monkeypatch.setattr(precision, "VERDICTS", {})


def layer(h, w, *, kernel=3, stride=2, padding=1, transposed=False, backward=True, cin=16, cout=24):
    """A convolution in bf16 and channels-last as a learner would call it, 8 images."""
    ways = [(n - 1) * stride - 2 * padding + kernel for n in (h, w)]
    if not transposed:
        ways = [(n + 2 * padding - kernel) // stride + 1 for n in (h, w)]
    channels = (cin, cout) if transposed else (cout, cin)

    def layout(*shape):
        like = torch.empty(shape, device="meta").to(memory_format=torch.channels_last)
        return Layout(shape, like.stride(), torch.bfloat16)

    image, weight = layout(8, cin, h, w), layout(*channels, kernel, kernel)
    how = ((stride,) * 2, (padding,) * 2, (1, 1), transposed, (0, 0), 1)
    if backward:
        out = layout(8, cout, *ways)
        return Call(CONVOLUTIONS[1], (out, image, weight, (cout,), *how, (True, True, True)))
    bias = Layout((cout,), (1,), torch.bfloat16)
    return Call(CONVOLUTIONS[0], (image, weight, bias, *how))


def disturbed(tensor, place):
    """The tensor with other values at a place."""
    tensor = tensor.clone()
    tensor[place] = tensor[place].roll(1, -1) * -1.5 + 1
    return tensor


ROW, TAP, CHANNEL = (slice(None), slice(None), 11), (..., 2, 1), (slice(None), 7)


@pytest.mark.parametrize("place", [ROW, TAP, CHANNEL, (3,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_wrong_slice_is_not_averaged_away(place, dtype):
    exact = torch.randn(8, 24, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert worst_slice(exact.bfloat16().to(dtype), exact) < probe.TOLERANCE / 10
    assert worst_slice(disturbed(exact, place), exact) > 5 * probe.TOLERANCE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3.4e38])
@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 3, 4), (2, 3, 4, 5)])
def test_a_single_wild_number_is_found(shape, value):
    exact = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = exact.clone()
    found.view(-1)[-1] = value
    assert not worst_slice(found, exact) <= probe.TOLERANCE
    assert worst_slice(exact, exact) == 0


@pytest.mark.parametrize(
    ("backward", "output", "place", "wanted"),
    [
        (False, 0, ROW, "output"),
        (True, 0, ROW, "input gradient"),
        (True, 1, TAP, "weight gradient"),
        (True, 2, slice(2, 12), "bias gradient"),
        (True, 1, None, "weight gradient"),
        (False, 0, None, "output"),
    ],
)
def test_a_kernel_that_is_wrong_in_bf16_is_found(backward, output, place, wanted, monkeypatch):
    """`place` None: a single NaN."""
    call = layer(24, 24, backward=backward)

    def broken(*operands):
        found = call.operator(*operands)
        if operands[0].dtype != torch.bfloat16:
            return found
        all_ = list(found) if backward else [found]
        if place is None:
            all_[output][(0,) * all_[output].ndim] = float("nan")
        else:
            all_[output] = disturbed(all_[output], place)
        return tuple(all_) if backward else all_[0]

    assert wrong_output(call) == ""
    monkeypatch.setitem(OUTPUTS, broken, OUTPUTS[call.operator])
    assert wrong_output(Call(broken, call.arguments)) == wanted


@pytest.mark.parametrize("side", [3, 40, 900])
def test_an_entry_that_is_never_written_is_never_right(side, monkeypatch):
    if probe.glibc_mallopt() is None:
        pytest.skip("the C library is not glibc")

    def lazy(like):
        return torch.empty_like(like) if like.dtype == torch.bfloat16 else torch.zeros_like(like)

    monkeypatch.setitem(OUTPUTS, lazy, ("product",))
    call = Call(lazy, (Layout((side, side), (side, 1), torch.bfloat16),))
    assert {wrong_output(call) for _ in range(200)} == {"product"}


@pytest.mark.parametrize(("h", "w"), [(4, 1), (2, 2), (1, 1), (16, 1), (5, 9)])
def test_verdict_on_a_layer_is_the_same_two_hundred_times(h, w):
    call = layer(h, w)
    verdicts = {wrong_output(call) for _ in range(200)}
    assert len(verdicts) == 1  # right or wrong: on any processor one of the two
    assert verdicts <= {"", known_fault(call)}


@pytest.mark.parametrize("reference", [torch.float32, torch.float64])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_layers_of_wide_maps_are_right(transposed, backward, reference):
    call = layer(8, 6, kernel=4, transposed=transposed, backward=backward)
    assert wrong_output(call, reference) == known_fault(call) == ""


AMX, PLAIN = {"amx", "avx512_bf16"}, set()


@pytest.mark.parametrize(
    ("features", "wide", "limit", "call", "wanted"),
    [
        (AMX, True, "", layer(8, 2, backward=False), "output"),
        (AMX, True, "DEFAULT", layer(8, 1, backward=False), "output"),
        (AMX, True, "avx512_core_amx", layer(8, 2, backward=False), "output"),
        (AMX, True, "AVX512_CORE_BF16", layer(8, 2, backward=False), ""),
        (AMX, True, "", layer(2, 2, backward=False), ""),  # one row out
        (AMX, True, "", layer(8, 4, backward=False), ""),  # two columns out
        (AMX, True, "", layer(8, 2, kernel=2, padding=0, backward=False), ""),
        (AMX, True, "", layer(8, 1, stride=1, backward=False), ""),
        (AMX, True, "", layer(8, 1, kernel=4, transposed=True), "input gradient"),
        (AMX, True, "", layer(8, 1, kernel=4, transposed=True, backward=False), ""),
        (PLAIN, True, "", layer(8, 2, backward=False), ""),
        (PLAIN, True, "", layer(4, 1), "weight gradient"),
        (PLAIN, True, "AVX512_CORE", layer(4, 1), "weight gradient"),
        (PLAIN, True, "AVX2", layer(4, 1), ""),
        (PLAIN, False, "", layer(4, 1), ""),
        (PLAIN, True, "", layer(4, 2), ""),  # as wide as the stride
        (PLAIN, True, "", layer(4, 2, stride=4), "weight gradient"),
        (PLAIN, True, "", layer(4, 1, kernel=1, padding=0), ""),  # no padding
        (PLAIN, True, "", layer(4, 1, cin=1), ""),
        (PLAIN, True, "", layer(4, 1, transposed=True), "weight gradient"),  # between 1 and 1
        (PLAIN, True, "", layer(4, 1, kernel=4, transposed=True), ""),  # between 1 and 2
        (PLAIN, True, "", Call(torch.ops.aten.mm.default, ()), ""),
    ],
)
def test_known_faults_follow_the_units_and_the_shape(
    features, wide, limit, call, wanted, monkeypatch
):
    monkeypatch.setattr(precision, "cpu_features", lambda: features)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: wide)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert known_fault(call) == wanted


def smallest(registry, name, **changed):
    settings = hyperparameters(registry, name, "smoke", {})
    wanted = {"batch": 16, "side": 32, "steps": 2, "labelling": "per-class", **changed}
    return registry[name](**settings | {k: v for k, v in wanted.items() if k in settings})


def gradient_fault(monkeypatch):
    """Let every convolution's weight gradient count as wrong."""
    monkeypatch.setattr(
        precision, "known_fault", lambda call: "weight gradient" * (call.operator in CONVOLUTIONS)
    )


def test_layers_of_a_learner_are_those_of_its_update(cpu):
    data = bars(3, ("a", "b"), (1, 12, 12))
    learner = smallest(GENERATORS, "b4-vae-cgan")
    before, state = repr(learner), torch.random.get_rng_state()
    calls = calls_of(learner, data)
    assert repr(learner) == before
    assert torch.equal(state, torch.random.get_rng_state())
    assert len(calls) == len(set(calls))
    assert {call.operator for call in calls} <= set(OUTPUTS)
    shapes = [call.arguments[1].shape for call in calls if call.operator is CONVOLUTIONS[0]]
    assert (64, 2, 3, 3) in shapes  # of D, which sees the label as a plane: the second phase
    assert (64, 1, 3, 3) in shapes  # of the VAE: the first
    layouts = [v for call in calls for v in call.arguments if isinstance(v, Layout)]
    assert all(layout.dtype == torch.bfloat16 for layout in layouts)


def test_fp32_and_gpus_are_not_tried(monkeypatch, cpu):
    monkeypatch.setattr(precision, "calls_of", None)
    learner, data = smallest(CLASSIFIERS, "resnet"), bars()
    assert safe_precision(learner, data, "fp32", cpu) == ("fp32", "")
    assert safe_precision(learner, data, "auto", cpu) == ("fp32", "")  # 8 pixels a side
    assert safe_precision(learner, data, "bf16", torch.device("cuda")) == ("bf16", "")


@pytest.mark.parametrize(("asked", "side"), [("bf16", 8), ("auto", 20)])
def test_wrong_bf16_means_fp32_and_a_sentence(asked, side, monkeypatch, cpu):
    from augment.training import precision as arithmetic

    monkeypatch.setattr(arithmetic, "cpu_features", lambda: {"avx512_bf16"})
    data = bars(shape=(1, side, side))
    tried = []
    monkeypatch.setattr(precision, "calls_of", lambda *a: tried.append(a) or calls_of(*a))
    learner = smallest(CLASSIFIERS, "resnet")
    assert safe_precision(learner, data, asked, cpu)[0] in ("bf16", "fp32")
    precision.VERDICTS.clear()
    gradient_fault(monkeypatch)
    found, warning = safe_precision(learner, data, asked, cpu)
    assert found == "fp32"
    assert "ResNet runs in fp32, not bf16: torch" in warning
    assert "a wrong weight gradient in bf16 for a convolution of 3×3, stride" in warning
    other = dataclasses.replace(learner)
    assert safe_precision(other, data, asked, cpu) == (found, warning)
    assert len(tried) == 2  # the third was remembered
    assert safe_precision(dataclasses.replace(learner, width=24), data, asked, cpu)[0] == "fp32"
    assert len(tried) == 3


def test_settings_that_matter_in_drawing_alone_are_not_tried_apart():
    ddpm, resnet = GENERATORS["ddpm"], CLASSIFIERS["resnet"]
    assert trained_settings(ddpm(guidance=2.0)) == trained_settings(ddpm())
    assert trained_settings(ddpm(batch=32)) != trained_settings(ddpm())
    assert trained_settings(resnet(width=8)) != trained_settings(resnet())


def test_fault_is_told_once_a_run_and_stands_in_its_folder(monkeypatch, tmp_path, cpu):
    gradient_fault(monkeypatch)
    (cell,) = expand(make_recipe(arm="real", seeds=1).resolved("cpu"))
    context = RunContext(Store(tmp_path), cpu, "bf16", 0)
    data, said = bars(), []
    trial = SimpleNamespace(cell=cell, context=context)

    def resolved(learner):
        steps = Steps(resolve_precision(trial, "score", learner, data))
        said.extend(steps)
        return steps.value

    learners = [smallest(CLASSIFIERS, name) for name in ("resnet", "resnet", "airbench")]
    assert [resolved(learner) for learner in learners] == ["fp32"] * 3
    assert [step.warning.partition(" runs")[0] for step in said] == ["ResNet", "Airbench"]
    assert {(step.stage, step.cell) for step in said} == {("score", cell.name)}
    files = sorted((tmp_path / "artefacts/precision").glob("*/about.json"))
    assert sum(step.warning[:40] in f.read_text() for f in files for step in said) == 2
    assert resolved(smallest(GENERATORS, "duplicate")) == "bf16"  # no convolution


def test_guarded_run_is_the_fp32_run(monkeypatch, small_run, tmp_path):
    """Same rows, same signatures; and fp32 leaves no verdicts behind."""
    asked = {**small_run, "seeds": 1, "arm": "real+synth", "precision": "fp32"}
    plain = augment.run(**asked)
    gradient_fault(monkeypatch)
    guarded = augment.run(**{**asked, "precision": "bf16", "out": tmp_path / "guarded"})
    assert guarded.table["precision_mode"].tolist() == ["fp32"] * len(plain.table)
    assert guarded.table["signature"].tolist() == plain.table["signature"].tolist()
    assert guarded.table["accuracy"].tolist() == plain.table["accuracy"].tolist()
    assert not (plain.path / "artefacts/precision").exists()
    # of the generator, the classifiers, and the judges of halves, which take fewer steps
    assert len(list((guarded.path / "artefacts/precision").glob("*/about.json"))) == 3


def one_step(arithmetic, learner, data, cpu):
    """Metrics of the first update, and what it changes in each weight with more than one axis."""
    learner = dataclasses.replace(learner)
    learner.prepare(data, seed=1, device=cpu, precision=arithmetic)
    training, before = TrainingSet((data,), (1.0,), (CLASSIC["none"],)), full_state(learner)
    before = {key: value.double().clone() for key, value in before.items() if value.ndim > 1}
    metrics = next((m for _, m in train(learner, training, seed=1, device=cpu)), {})
    after = full_state(learner)
    assert all(value.isfinite().all() for value in after.values())
    return metrics, {k: after[k].double() - v for k, v in before.items() if k.startswith("module")}


def check_guarded(registry, name, shape, cpu, least):
    """A guarded training is finite and starts as in fp32: alike losses, steps the same way."""
    data = bars(8, ("a", "b"), shape)
    learner = smallest(registry, name)
    safe, _ = safe_precision(learner, data, "bf16", cpu)
    found, moved = one_step(safe, learner, data, cpu)
    wanted, exact = one_step("fp32", learner, data, cpu)
    for key, value in found.items():
        torch.testing.assert_close(value, wanted[key], rtol=0.05, atol=0.02, msg=key)
    for key in exact:
        size = exact[key].norm() * moved[key].norm()
        assert (exact[key] * moved[key]).sum() >= least * size, key  # cosine


@pytest.mark.parametrize(("registry", "name"), ENTRIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_guarded_training_is_near_that_in_fp32(registry, name, shape, cpu):
    check_guarded(registry, name, shape, cpu, least=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("registry", "name"), [e for e in ENTRIES if e[1] not in POOLED_AWAY])
@pytest.mark.parametrize("shape", EXTREME)
def test_guarded_training_of_extreme_shapes_is_near_that_in_fp32(registry, name, shape, cpu):
    check_guarded(registry, name, shape, cpu, least=0.0)  # batch norm of few places: chaotic
