"""Settings are checked before anything runs, expand to each cell once, and name the stages."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.classifiers import CLASSIFIERS
from augment.data.datasets import load_dataset
from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.experiment.cells import expand
from augment.experiment.hyperparameters import hyperparameters, parse_set
from augment.experiment.sampling import synthetic_record
from augment.experiment.stages import classifier_record, generator_record
from augment.experiment.validation import make_recipe, overrides, read_recipe
from augment.generators import GENERATORS
from augment.generators.finetune import Finetune
from augment.generators.pretrained import Pretrained
from augment.transforms.geometric import CLASSIC

SCRATCH = [name for name, arm in ARMS.items() if not arm.pretrained]  # the rest need a file
REAL = [name for name in SCRATCH if not ARMS[name].synthetic]


def cells(**given_settings):
    return expand(make_recipe(**given_settings).resolved("cpu"))


def refused(*says, **given_settings):
    with pytest.raises(UsageError) as caught:
        make_recipe(**given_settings)
    for part in says:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_settings", "says"),
    [
        ({"genrator": "ddpm"}, ["setting 'genrator'", "did you mean 'generator'?"]),
        ({"per-class": 3}, ["did you mean 'per_class'?"]),
        (
            {"generator": "ddmp"},
            ["generator 'ddmp'", "'ddpm'", "cgan, cvae, mix, duplicate, noise"],
        ),
        ({"arm": "real,real+clasic"}, ["arm 'real+clasic'", "did you mean 'real+classic'?"]),
        ({"preset": "quik"}, ["preset 'quik'", "did you mean 'quick'?"]),
        ({"classifier": "resnt"}, ["classifier 'resnt'", "did you mean 'resnet'?"]),
        ({"mixing": "faling"}, ["mixing 'faling'", "did you mean 'falling'?"]),
        ({"classic": "natrual"}, ["classic policy 'natrual'", "did you mean 'natural'?"]),
        ({"precision": "fp16"}, ["precision 'fp16'", "auto, fp32, bf16"]),
        ({"set": {"generater": {}}}, ["section of set 'generater'", "'generator'?"]),
        ({"set": {"generator": {"lrr": 1}}}, ["setting of ddpm 'lrr'", "did you mean 'lr'?"]),
        ({"set": {"classifier": {"stepz": 1}}}, ["setting of airbench 'stepz'", "'steps'?"]),
        ({"set": {"cgan": {"widht": 1}}}, ["setting of cgan 'widht'", "'width'?"]),  # not used
    ],
)
def test_unknown_name_is_refused_and_the_nearest_named(given_settings, says):
    refused(*says, **given_settings)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("--frac", v) for v in (0, -0.1, math.nan, "nan", 1.5, "inf", "five", True, {"a": 1})),
        *(("--per-class", v) for v in (0, -3, 1.5, "x", True)),
        *(("--ratio", v) for v in (0, -1, 10_001, math.nan, math.inf, [], "", True)),
        *(("--share", v) for v in (0, 1, -0.5, math.nan, [])),
        *(("--mixing", v) for v in ([], "", 3)),
        *(("--guidance", v) for v in (-1, math.nan, math.inf, "strong")),
        *(("--seeds", v) for v in (0, -3, "-3", "5-3", "a", "", None, True, [True], 2.5, [-1])),
        *(("--size", v) for v in (7, 513, "big", 8.5)),
        *(("--dataset", v) for v in ([], "", 3)),
        ("--arm", []),
        ("--generator", ""),
        ("--set.generator", None),
    ],
)
def test_bad_value_is_refused_by_its_flag(flag, value):
    key = flag[2:].replace("-", "_")
    if key == "set.generator":
        refused(flag, set={"generator": value})
    else:
        refused(flag, **{key: value})


@pytest.mark.parametrize("name", ["hub", "patch"])
def test_zero_that_means_none_or_automatic_can_be_given(name):
    assert overrides(make_recipe(set={"ddpm": {name: 0}}), "ddpm") == {name: 0}


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("ddpm", "steps", "many", "ddpm.steps = 'many'"),
        ("ddpm", "steps", 1.5, "ddpm.steps = 1.5"),
        ("ddpm", "steps", True, "true or false"),
        ("ddpm", "steps", -1, "least is 0"),
        ("ddpm", "batch", 0, "least is 1"),
        ("ddpm", "widths", 32, "ddpm.widths = 32"),
        ("ddpm", "widths", [32, 0], "least is 1"),
        ("ddpm", "lr", math.nan, "not a finite number"),
        ("ddpm", "lr", -1e-3, "not a finite number from 0 up"),
        ("ddpm", "sampler", 3, "ddpm.sampler = 3"),
        ("ddpm", "attention", 3, "ddpm.attention = 3"),
        ("generator", "lr", "fast", "ddpm.lr = 'fast'"),
        ("classifier", "width", 0, "airbench.width = 0"),
        ("airbench", "steps", "x", "airbench.steps = 'x'"),  # not used
    ],
)
def test_bad_hyperparameter_is_refused_by_name(section, key, value, says):
    refused(says, set={section: {key: value}})


def test_comma_in_the_name_of_a_folder_does_not_part_it(tmp_path):
    folder = tmp_path / "cracks, 2025"
    folder.mkdir()
    assert make_recipe(dataset=str(folder)).dataset == [str(folder)]
    assert make_recipe(dataset="digits,mnist").dataset == ["digits", "mnist"]
    assert make_recipe(dataset=f"digits,{'m' * 5000}").dataset[0] == "digits"


def test_frac_and_per_class_exclude_each_other():
    refused("--frac and --per-class", frac=0.1, per_class=5)


@pytest.mark.parametrize(
    ("given_seeds", "wanted"),
    [
        (3, [0, 1, 2]),
        ("3", [0, 1, 2]),
        (" 3 ", [0, 1, 2]),
        ("100-102", [100, 101, 102]),
        ("7-7", [7]),
        ("1,4", [1, 4]),
        ("6,", [6]),
        ([5, 2], [5, 2]),
        (range(2, 4), [2, 3]),
    ],
)
def test_seeds_are_a_number_a_range_or_a_list(given_seeds, wanted):
    assert make_recipe(seeds=given_seeds).seeds == wanted


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), st.integers(0, 99), st.data())
@settings(max_examples=40, deadline=None)
def test_seeds_are_read_as_written(listed, first, data):
    last = data.draw(st.integers(first, first + 20))
    assert make_recipe(seeds=f"{first}-{last}").seeds == list(range(first, last + 1))
    assert make_recipe(seeds=",".join(map(str, listed)) + ",").seeds == listed
    assert make_recipe(seeds=listed).seeds == listed


def test_flags_as_text_are_the_same_as_values():
    text = make_recipe(frac="0.05, 0.1", generator="ddpm,cgan", ratio="1,5", guidance="1,2")
    values = make_recipe(
        frac=[0.05, 0.1], generator=["ddpm", "cgan"], ratio=(1, 5), guidance=[1, 2]
    )
    assert text == values


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        ("generator.lr=1e-3", {"generator": {"lr": 0.001}}),
        ("ddpm.steps = 20", {"ddpm": {"steps": 20}}),
        ("ddpm.widths=[16, 32]", {"ddpm": {"widths": [16, 32]}}),
        ("ddpm.attention=false", {"ddpm": {"attention": False}}),
        ("ddpm.sampler=dpm++", {"ddpm": {"sampler": "dpm++"}}),
        ('ddpm.sampler="a=b"', {"ddpm": {"sampler": "a=b"}}),
        ("ddpm.sampler= ddim ", {"ddpm": {"sampler": "ddim"}}),
    ],
)
def test_set_reads_values_with_their_types(item, wanted):
    found = parse_set([item])
    assert found == wanted
    section, values = wanted.popitem()
    assert [type(v) for v in found[section].values()] == [type(v) for v in values.values()]


def test_set_gathers_sections_and_the_last_value_counts():
    found = parse_set(["ddpm.lr=1", "cgan.z=8", "ddpm.steps=3", "ddpm.lr=2"])
    assert found == {"ddpm": {"lr": 2, "steps": 3}, "cgan": {"z": 8}}


@pytest.mark.parametrize("item", ["lr", "lr=3", "generator.=3", "generator.lr", ""])
def test_set_without_section_key_and_value_is_refused(item):
    with pytest.raises(UsageError, match=r"--set .*SECTION\.KEY=VALUE"):
        parse_set([item])


def another(value):
    """Another valid value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return "ddim"
    if isinstance(value, float):
        return 0.6 if value == 0.3 else 0.3  # also where only shares are valid
    return (value[:1] or [1]) if isinstance(value, list) else value * 2 + 1


@pytest.mark.parametrize("registry", [GENERATORS, CLASSIFIERS])
@pytest.mark.parametrize("preset", ["smoke", "quick", "full"])
def test_hyperparameters_are_defaults_then_preset_then_override(registry, preset):
    for name, entry in registry.items():
        found = hyperparameters(registry, name, preset, {})
        assert json.loads(json.dumps(found)) == found
        made, plain = entry(**found), entry()
        for key, value in found.items():
            assert getattr(made, key) == value
            wanted = entry.presets[preset].get(key, getattr(plain, key))
            assert value == (list(wanted) if isinstance(wanted, tuple) else wanted)
            changed = hyperparameters(registry, name, preset, {key: another(value)})
            assert changed == found | {key: another(value)}


def test_own_section_goes_over_its_kind_s_and_controls_are_left_alone():
    recipe = {"generator": {"steps": 5, "lr": 0.5}, "ddpm": {"steps": 6}}
    found = {
        c.generator: c.generator_settings
        for c in cells(generator="ddpm,cvae,duplicate,noise", arm="synth", seeds=1, set=recipe)
    }
    assert (found["ddpm"]["steps"], found["ddpm"]["lr"]) == (6, 0.5)
    assert (found["cvae"]["steps"], found["cvae"]["lr"]) == (5, 0.5)
    for name in ("duplicate", "noise"):
        assert found[name] == hyperparameters(GENERATORS, name, "quick", {})


@pytest.mark.parametrize(
    ("preset", "device", "wanted"),
    [("auto", "cpu", "quick"), ("auto", "cuda", "full"), ("smoke", "cuda", "smoke")],
)
def test_preset_auto_is_resolved_by_the_device(preset, device, wanted):
    resolved = make_recipe(preset=preset).resolved(device)
    assert resolved.preset == wanted
    cell = expand(resolved)[0]
    assert cell.classifier_settings["steps"] == CLASSIFIERS["airbench"].presets[wanted]["steps"]


def test_unresolved_recipe_has_no_cells():
    with pytest.raises(ValueError, match="resolve"):
        expand(make_recipe())


def some(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=3)  # repeated ones among them


@given(
    arm=some(SCRATCH),
    generator=some(list(GENERATORS)),
    seeds=some([0, 1, 7]),
    ratio=some([1.0, 5.0]),
    share=some([0.25, 0.5]),
    guidance=st.just([]) | some([1.0, 3.0]),
    dataset=some(["digits", "mnist"]),
    frac=st.just([]) | some([0.05, 0.5]),
)
@settings(max_examples=40, deadline=None)
def test_each_cell_once(arm, generator, seeds, ratio, share, guidance, dataset, frac):
    if "ddpm" not in generator:
        guidance = []  # refused where nothing is guided
    made = cells(
        arm=arm,
        generator=generator,
        seeds=seeds,
        ratio=ratio,
        share=share,
        guidance=guidance,
        dataset=dataset,
        frac=frac,
    )
    keys = [
        (
            c.dataset,
            c.frac,
            c.per_class,
            c.seed,
            c.arm,
            c.generator,
            c.use.ratio,
            c.use.share,
            c.use.guidance,
        )
        for c in made
    ]
    assert len(keys) == len(set(keys))
    seeds, ratio, share, guidance, dataset, frac = (
        len(set(values)) for values in (seeds, ratio, share, guidance, dataset, frac)
    )
    levels = sum(max(1, guidance) if name == "ddpm" else 1 for name in set(generator))
    per_trial = sum(
        1 if name in REAL else ratio * levels * (share if ARMS[name].real else 1)
        for name in set(arm)
    )
    assert len(made) == seeds * dataset * max(1, frac) * per_trial


def test_real_arms_are_not_repeated_over_generators():
    made = cells(arm=SCRATCH, generator="ddpm,cgan,noise", ratio="1,5", share="0.2,0.5", seeds=2)
    real = [c for c in made if c.arm in REAL]
    assert [(c.seed, c.arm) for c in real] == [(s, a) for s in (0, 1) for a in REAL]
    assert all(
        c.generator is c.use.ratio is c.use.share is c.use.guidance is None
        and not c.generator_settings
        for c in real
    )


def test_guidance_reaches_only_generators_that_have_it():
    made = cells(generator="ddpm,cgan,noise", guidance="1,3", arm="synth", seeds=1)
    found = [(c.generator, c.use.guidance, c.generator_settings.get("guidance")) for c in made]
    assert found == [("ddpm", 1, 1), ("ddpm", 3, 3), ("cgan", None, None), ("noise", None, None)]


def test_matrix_of_ratios_and_shares():
    made = cells(ratio="1,5", share="0.2,0.5", arm="real+synth,synth", seeds=1)
    mixed = [(c.use.ratio, c.use.share) for c in made if c.arm == "real+synth"]
    assert mixed == [(1, 0.2), (1, 0.5), (5, 0.2), (5, 0.5)]
    assert [(c.use.ratio, c.use.share) for c in made if c.arm == "synth"] == [(1, None), (5, None)]


def test_without_an_amount_known_data_gives_ten_a_class_and_own_data_all():
    known, own = cells(dataset="digits,./mine", arm="real", seeds=1)
    assert (known.frac, known.per_class, known.amount) == (None, 10, "10 a class")
    assert (own.frac, own.per_class, own.amount) == (1, None, "all of the pool")


def test_amounts_that_differ_are_called_differently():
    made = cells(frac=[0.05, 0.123451, 0.123452], arm="real", seeds=1)
    assert len({c.trial for c in made}) == 3
    assert made[0].name == "digits, 0.05 of the pool, seed 0: real"


def test_resolved_recipe_comes_back_from_json_and_from_toml(tmp_path):
    recipe = make_recipe(
        question="Is it so?",
        dataset="digits,./ä b",
        frac="0.05,1",
        seeds="3-5",
        guidance=2,
        generator="ddpm,noise",
        skip_bad=True,
        set={"ddpm": {"widths": [8, 16], "lr": 1e-3}},
    ).resolved("cpu")
    again = make_recipe(**json.loads(json.dumps(recipe.model_dump(mode="json"))))
    assert again == recipe
    assert expand(again) == expand(recipe)
    file = tmp_path / "recipe.toml"
    file.write_text(tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True)), "utf-8")
    assert make_recipe(**read_recipe(file)) == recipe


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"frac = 0.1\nsedes = 3", "unknown setting 'sedes': did you mean 'seeds'?"),
        (b"frac = 1.5", "--frac 1.5"),
        (b"seeds = [", "is not TOML"),
        (b"question = '\xff'", "cannot be read"),
        (b"[set.ddpm]\nlrr = 1", "unknown setting of ddpm 'lrr'"),
        (b"[set.generator]\nsteps = 'x'", "ddpm.steps = 'x'"),
        (None, "cannot be read: No such file"),
    ],
)
def test_fault_in_a_recipe_file_names_the_file(text, says, tmp_path):
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(UsageError) as caught:
        read_recipe(file)
    assert str(caught.value).startswith(str(file))
    assert says in str(caught.value)


def stages(**changed):
    """Signatures of the three stages of a cell."""
    base = {"arm": "real+synth", "seeds": [3], "preset": "smoke", "per_class": 5}
    (cell,) = cells(**(base | changed))
    return records(cell)


def records(cell, labelled="data", test="test", synthetic=None, precision="fp32"):
    """Signatures of the generator, the synthetic set and the score of a cell."""
    images = SimpleNamespace(sha=labelled, shape=(1, 8, 8))
    trial = SimpleNamespace(cell=cell, labelled=images, transform=cell.classic)
    model = generator_record(trial, precision).signature
    sampled = synthetic_record(cell, model).signature
    drawn = SimpleNamespace(path=Path(synthetic or sampled))
    learnt = SimpleNamespace(transforms=[CLASSIC["none"]], parts=[images], with_replacement=True)
    score = classifier_record(trial, learnt, drawn, precision).scored_on(test)
    return model, sampled, score.signature


def changes(**changed):
    """Which of the three stages a setting makes anew, given a generator it leaves alone."""
    same = {"generator": changed["generator"]} if "set" in changed else {}
    before, after = stages(**same), stages(**changed)
    return tuple(a != b for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (n, k)
        for n in GENERATORS
        for k in hyperparameters(GENERATORS, n, "smoke", {})
        if k != "autoencoder_sha"  # checks what `autoencoder` names, which is signed by content
    ],
)
def test_generator_setting_makes_anew_what_it_touches(name, key, tmp_path, monkeypatch):
    (tmp_path / "weights").touch()  # of another folder than the one that the setting names
    for generator in (Pretrained, Finetune):
        monkeypatch.setitem(generator.presets["smoke"], "folder", str(tmp_path))
    value = another(hyperparameters(GENERATORS, name, "smoke", {})[key])
    found = changes(generator=name, set={name: {key: value}})
    sampling = key in GENERATORS[name].sampling
    assert found == (not sampling, True, True)


@pytest.mark.parametrize(
    ("name", "key"),
    [(n, k) for n in CLASSIFIERS for k in hyperparameters(CLASSIFIERS, n, "smoke", {})],
)
def test_classifier_setting_makes_only_the_score_anew(name, key):
    value = another(hyperparameters(CLASSIFIERS, name, "smoke", {})[key])
    (before, *shared), (after, *kept) = (
        stages(classifier=name, set=overrides)[::-1] for overrides in ({}, {name: {key: value}})
    )
    assert shared == kept
    assert before != after


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"ratio": 2}, (False, True, True)),
        ({"guidance": 3}, (False, True, True)),
        ({"share": 0.5}, (False, False, True)),
        ({"mixing": "constant"}, (False, False, True)),
        ({"arm": "real+classic+synth"}, (False, False, True)),
        ({"classifier": "resnet"}, (False, False, True)),
        ({"seeds": [4]}, (True, True, True)),
        ({"generator": "cvae"}, (True, True, True)),
        ({"classic": "natural"}, (True, True, True)),
        ({"question": "Why?"}, (False, False, False)),
    ],
)
def test_setting_makes_anew_the_stages_that_depend_on_it(changed, wanted):
    assert changes(**changed) == wanted


def test_ratio_is_in_the_record_of_the_synthetic_set_alone():
    one, five = (
        records(cell, synthetic="s") for cell in cells(ratio="1,5", arm="real+synth", seeds=1)
    )
    assert [a == b for a, b in zip(one, five, strict=True)] == [True, False, True]


def test_records_hang_on_data_test_set_and_precision():
    (cell,) = cells(arm="synth", seeds=1)
    given = [
        ("d", "t", "s", "a"),
        ("e", "t", "s", "a"),
        ("d", "u", "s", "a"),
        ("d", "t", "r", "a"),
        ("d", "t", "s", "b"),
    ]
    found = [records(cell, *each) for each in given]
    assert len({model for model, _, _ in found}) == 3
    assert len({score for _, _, score in found}) == 5


def test_guidance_without_a_guided_generator_is_refused():
    with pytest.raises(UsageError, match="--guidance: cvae, noise has none"):
        make_recipe(generator="cvae,noise", guidance=2)
    assert make_recipe(generator="cvae,ddpm", guidance=2).guidance == [2.0]


def test_more_trials_than_anyone_means_are_refused():
    with pytest.raises(UsageError, match="--seeds asks for 20231015 trials"):
        make_recipe(seeds="20231015")


def test_one_generator_with_several_settings_is_several_generators():
    recipe = make_recipe(
        generator="cvae lr=1e-3 z=4,cvae lr=1e-4,duplicate",
        arm="synth",
        seeds=1,
        set={"generator": {"lr": 0.5, "batch": 8}},
    ).resolved("cpu")
    first, second, control = expand(recipe)
    assert [c.generator for c in (first, second, control)] == recipe.generator
    assert {c.entry for c in (first, second)} == {"cvae"}
    seen = [[c.generator_settings[k] for k in ("lr", "z", "batch")] for c in (first, second)]
    assert seen == [[1e-3, 4, 8], [1e-4, 16, 8]]
    assert records(first)[0] != records(second)[0]


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        ("cva lr=1", "did you mean 'cvae'"),
        ("cvae lrr=1", "did you mean 'lr'"),
        ("cvae lr", "write NAME KEY=VALUE"),
        ("cvae lr=fast", "cvae.lr = 'fast'"),
        ("duplicate lr=1", "lr"),
    ],
)
def test_fault_in_the_settings_of_a_generators_name_is_one_sentence(generator, said):
    with pytest.raises(UsageError, match=said):
        make_recipe(generator=generator)


def test_a_comma_in_brackets_does_not_part_two_generators():
    names = make_recipe(generator="ddpm widths=[16,32] steps=5, cvae,mix").generator
    assert names == ["ddpm widths=[16,32] steps=5", "cvae", "mix"]


def test_disjoint_subsets_are_numbered_by_the_place_of_the_trial_and_named():
    found = cells(arm="real,real+classic", seeds="100-102", per_class=3, subsets="disjoint")
    assert [cell.subset for cell in found] == [0, 0, 1, 1, 2, 2]
    assert {cell.amount for cell in found} == {"3 a class, disjoint"}
    usual = cells(arm="real", seeds=2, per_class=3, subsets="nested")
    assert [repr(cell) for cell in usual] == [
        repr(cell) for cell in cells(arm="real", seeds=2, per_class=3)
    ]
    assert "subset" not in repr(usual[0])  # signatures of before stay as they are
    with pytest.raises(UsageError, match="disjoint"):
        make_recipe(subsets="disjunct")


def test_disjoint_subsets_of_a_run_share_no_image_and_are_refused_where_the_pool_is_too_small():
    data = load_dataset("digits")
    drawn = [
        set(cell.labelled_indices(data).tolist())
        for cell in cells(arm="real", seeds=3, per_class=20, subsets="disjoint")
    ]
    assert [len(subset) for subset in drawn] == [200, 200, 200]
    assert len(set.union(*drawn)) == sum(map(len, drawn))
    (last,) = cells(arm="real", seeds=[7], per_class=80, subsets="disjoint")
    assert len(last.labelled_indices(data)) == 800
    many = cells(arm="real", seeds=9, per_class=20, subsets="disjoint")
    with pytest.raises(UsageError, match="there are more trials: take --seeds"):
        many[-1].labelled_indices(data)
