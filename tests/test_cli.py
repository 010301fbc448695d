"""The command as people use it: output, exit codes, one sentence for each error."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import typer
from conftest import bars, write_folder
from typer.main import get_command
from typer.testing import CliRunner

import augment
from augment import cli
from augment.cli import signals
from augment.cli.experiments import overridden
from augment.cli.flags import PANELS, with_options
from augment.data.pictures.framing import FITS, KEPT_UP_TO
from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.experiment.cells import FIRST_CLASSES, expand
from augment.experiment.recipe import USUAL_ARMS, Recipe
from augment.experiment.setting_types import Ratios, setting
from augment.experiment.validation import make_recipe, read_recipe
from augment.generators import GENERATORS
from augment.report.comparison import MEASURES

FAST = (
    "--preset smoke --per-class 3 --seeds 1 --jobs 1 --generator cvae --ratio 2 "
    "--set generator.steps=4 --set classifier.steps=4 --set classifier.width=8"
).split()


def command(*words, cwd=None, **environment):
    """(exit code, stdout, stderr) of the real command."""
    done = subprocess.run(
        [sys.executable, "-m", "augment", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def call(monkeypatch, capsys, *words):
    """The same inside this process."""
    monkeypatch.setattr(sys, "argv", ["augment", *map(str, words)])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A finished small run."""
    out = tmp_path_factory.mktemp("cli") / "run"
    code, stdout, stderr = command("run", *FAST, "--out", str(out))
    assert code == 0, stderr
    assert "real+classic+synth" in stdout
    assert str(out) in stderr
    return out


COMMANDS = get_command(cli.app).commands


def options_of(name, app=cli.app):
    """The options of a command as Typer builds them, --help among them."""
    command = get_command(app).commands[name]
    with command.make_context(name, [], resilient_parsing=True) as context:
        params = command.get_params(context)
    return [param for param in params if param.param_type_name == "option"]


def help_lines(monkeypatch, *words, width=80):
    """The help page of a command on a terminal of so many columns."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", width)
    shown = CliRunner().invoke(cli.app, [*words, "--help"])
    assert shown.exit_code == 0, shown.output
    return shown.stdout.splitlines()


def columns_of(lines):
    """The text of a help page without its frames, each option's help in one line."""
    inside = [line.strip("│").strip() for line in lines if line.startswith("│")]
    return " ".join(" ".join(re.split(r"\s{2,}", line)[-1] for line in inside).split())


def test_each_command_has_an_example_that_names_it():
    for name, each in COMMANDS.items():
        assert f"Example: augment {name}" in each.callback.__doc__


@pytest.mark.parametrize("words", [[], ["run"]])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys; from augment import cli; sys.argv[1:] = [*sys.argv[1:], '--help']\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'sklearn', 'matplotlib', 'diffusers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    asked = [sys.executable, "-c", code, *words]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_help_a_group_and_a_form_of_its_value(name):
    for param in options_of(name):
        assert param.help.endswith("."), param.name
        assert param.rich_help_panel.lower() in PANELS, param.name
        assert param.metavar or param.is_flag or param.count, param.name


def test_options_of_run_stand_in_the_order_of_their_groups():
    panels = [param.rich_help_panel.lower() for param in options_of("run")]
    assert list(dict.fromkeys(panels)) == list(PANELS)


def test_every_setting_of_the_recipe_is_a_flag():
    flags = {param.opts[0] for param in options_of("run")}
    assert {f"--{name.replace('_', '-')}" for name in Recipe.model_fields} <= flags


@pytest.mark.parametrize("name", Recipe.model_fields)
def test_default_in_the_help_is_the_default_of_the_recipe(name):
    (param,) = [each for each in options_of("run") if each.name == name]
    default = Recipe.model_fields[name].default
    unset = Recipe.model_fields[name].json_schema_extra.get("unset")
    said = re.search(r"default: (.*)\)\.$", param.help)
    if unset:
        assert said[1] == unset
    elif default in ("", [], {}, None, False):
        assert not said
    else:
        assert getattr(make_recipe(**{name: said[1]}), name) == default


def test_defaults_that_the_help_has_in_words_are_those_in_the_code():
    said = {name: field.json_schema_extra for name, field in Recipe.model_fields.items()}
    assert said["per_class"]["unset"].startswith(f"{FIRST_CLASSES};")
    assert said["size"]["unset"].startswith(f"auto: native up to {KEPT_UP_TO},")
    assert said["fit"]["unset"] == FITS[0]
    of_program = {"device": "auto", "executor": "local"}
    found = {param.name: param for param in options_of("run")}
    for name, default in of_program.items():
        assert found[name].default == default
        assert f"(default: {default})" in found[name].help


@pytest.mark.parametrize(
    ("flag", "metavar", "extent"),
    [
        ("size", "N|auto|native", "8 to 512"),
        ("folds", "INTEGER", "2<=x<=20"),
        ("per_class", "INTEGER[,INTEGER…]", "x>=1"),
        ("frac", "FLOAT[,FLOAT…]", "0<x<=1"),
        ("share", "FLOAT[,FLOAT…]", "0<x<1"),
        ("preset", "auto|smoke|quick|full", "default: auto"),
        ("arm", "NAME[,NAME…]", "see augment list"),
        ("question", "TEXT", ""),
    ],
)
def test_flag_shows_the_form_and_range_of_its_value(flag, metavar, extent):
    (param,) = [each for each in options_of("run") if each.name == flag]
    assert param.metavar == metavar
    assert extent in param.help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns_and_cuts_nothing(name, monkeypatch):
    lines = help_lines(monkeypatch, name)
    assert max(map(len, lines)) <= 80
    text = columns_of(lines)
    for param in options_of(name):
        assert " ".join(param.help.split()) in text, param.name


def test_examples_of_the_groups_parse():
    command = COMMANDS["run"]
    examples = re.findall(r"^  (\w+) +augment run (.+)$", command.epilog, re.M)
    assert [panel.lower() for panel, _ in examples] == list(PANELS)
    for panel, words in examples:
        context = command.make_context("run", words.split())
        given = {k for k, v in context.params.items() if v not in (None, False, 0, [])}
        groups = {p.rich_help_panel for p in command.params if p.name in given}
        assert panel in groups


class Wider(Recipe):
    """A recipe with one more setting, as the next person adds it."""

    blur_by: Ratios = setting([1.5], "comparison", "Blur of the synthetic images.")


def test_new_setting_of_the_recipe_is_a_flag_a_key_a_line_of_help_and_a_keyword(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("augment.experiment.validation.Recipe", Wider)
    taken = []

    def command(**settings: object):
        taken.append(settings)

    app = typer.Typer()
    app.command("run")(with_options(command, Wider))
    app.command("other")(lambda: None)
    (param,) = [each for each in options_of("run", app) if each.name == "blur_by"]
    assert param.metavar == "FLOAT[,FLOAT…]"
    assert param.help == "Blur of the synthetic images (0<x<=10000; default: 1.5)."
    shown = CliRunner().invoke(app, ["run", "--blur-by", "2,0.5"])
    assert shown.exit_code == 0, shown.output
    assert make_recipe(**taken[0]).blur_by == [2.0, 0.5]

    recipe = tmp_path / "mine.toml"
    recipe.write_text("blur_by = [3, 4]")
    assert make_recipe(**read_recipe(recipe)).blur_by == [3.0, 4.0]
    with pytest.raises(UsageError, match="--blur-by much: Input should be a valid number"):
        make_recipe(blur_by="much")

    def captured(recipe, **_):
        taken.append(recipe)
        return "result"
        yield

    monkeypatch.setattr("augment.engine.run.execute", captured)
    assert augment.run(blur_by="7") == "result"
    assert taken[-1].blur_by == [7.0]


def test_without_a_command_the_three_that_most_people_need(monkeypatch, capsys):
    code, out, err = call(monkeypatch, capsys)
    assert (code, out) == (2, "")  # nothing was run, and a script should notice
    found = re.findall(r"^  augment (.+?)  ", err, re.M)
    assert [words.split()[0] for words in found] == ["run", "run", "export"]
    for words in found:
        name, *rest = words.split()
        COMMANDS[name].make_context(name, rest)
    assert "augment --help lists all commands" in err
    assert max(map(len, err.splitlines())) <= 80


def test_flags_go_over_the_recipe_of_config():
    file = {"frac": 0.5, "ratio": 3, "set": {"ddpm": {"lr": 1e-3}, "cvae": {"steps": 5}}}
    flags = {"per_class": "4", "set": ["ddpm.steps=9", "ddpm.lr=2e-3"]}
    assert overridden(file, flags) == {
        "per_class": "4",
        "ratio": 3,
        "set": {"ddpm": {"lr": 2e-3, "steps": 9}, "cvae": {"steps": 5}},
    }
    assert file["set"]["ddpm"] == {"lr": 1e-3}
    assert overridden({}, {}) == {"set": {}}


def test_both_spellings_of_a_flag_are_taken(monkeypatch, capsys):
    short = COMMANDS["run"].make_context("run", ["-q", "-vv", "--filter", "none"]).params
    long = COMMANDS["run"].make_context("run", ["--quiet", "--verbose", "--verbose"]).params
    assert (short["quiet"], short["verbose"]) == (long["quiet"], long["verbose"]) == (True, 2)
    assert short["filter"] == "none"
    code, _, err = call(monkeypatch, capsys, "run", "--set", "ddpm.lr=fast", "-q")
    assert (code, err.count("\n")) == (2, 1)
    assert "ddpm.lr = 'fast'" in err


def test_diffusers_is_imported_for_ddpm_only():
    code = (
        "import sys, augment, augment.engine; print('diffusers' in sys.modules);"
        "from augment.generators import GENERATORS; from augment.data.images import LabelledImages;"
        "import torch; d = LabelledImages.blank(4, (1, 8, 8), 'ab');"
        "GENERATORS['cvae']().prepare(d, seed=0, device=torch.device('cpu'));"
        "print('diffusers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", ["run", "sweep", "sample", "export", "report", "check", "doctor"])
def test_help_of_a_command(name):
    shown = CliRunner().invoke(cli.app, [name, "--help"])
    assert shown.exit_code == 0
    assert "Example" in shown.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "--generator", "dpm"], 2, "did you mean 'ddpm'"),
        (["report", "results/smoke.csv", "--tensorboard"], 2, "needs a run folder"),
        (["run", "--dataset", "digitz"], 2, "did you mean 'digits'"),
        (["run", "--frac", "0"], 2, "--frac"),
        (["run", "--frac", "nan"], 2, "--frac"),
        (["run", "--frac", "1e-9"], 2, "would leave 0 images of class"),
        (["run", "--frac", "0.1", "--per-class", "5"], 2, "cannot both be given"),
        (["run", "--set", "generator.lrr=1"], 2, "did you mean 'lr'"),
        (["run", "--set", "lr=1"], 2, "SECTION.KEY=VALUE"),
        (["run", "--config", "nowhere.toml"], 2, "nowhere.toml cannot be read"),
        (["run", "--device", "cuda:77"], 5, "--device"),
        (["sample", "nowhere", "--label", "7"], 2, "no run folder"),
        (["report", "nowhere"], 2, "no run folder"),
        (["check", "./nowhere"], 2, "no such folder"),
        (["run", "--size", "3"], 2, "--size 3: "),
        (["run", "--size", ""], 2, "--size '': the value is empty: give 8 to 512"),
        (["run", "--size", "big"], 2, "--size big: give 8 to 512 pixels, auto or native"),
        (["run", "--ratio", "2,x"], 2, "--ratio x: Input should be a valid number"),
        (["run", "--folds", "1"], 2, "--folds 1: "),
        (["check", "digits", "--size", "3"], 2, "--size 3: "),
        (["run", "--executor", "rai"], 2, "did you mean 'ray'"),
        (["run", "--executor", "ray", "--jobs", "2"], 2, "--jobs is for --executor local"),
        (["run", "--gpus", "0.5"], 2, "--gpus is for --executor ray"),
    ],
)
def test_error_is_one_sentence_with_its_exit_code(monkeypatch, capsys, words, code, said):
    found, out, err = call(monkeypatch, capsys, *words)
    assert found == code, err
    assert said in err
    assert out == ""
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_executor_of_an_extra_that_is_missing_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = call(monkeypatch, capsys, "run", "--executor", "ray")
    assert (code, err) == (
        5,
        "error: --executor ray needs the extra: pip install 'augment-compare[ray]'\n",
    )


def test_run_prints_its_table_and_sentence(run_dir, monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "report", run_dir)
    assert code == 0
    assert out.splitlines()[0].startswith("generator\tarm\taccuracy")
    assert "one trial" in out
    assert "a verdict takes three at least (--seeds 3)" in out.splitlines()[-1]


def test_json_is_json_alone(run_dir, monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "run", *FAST, "--out", run_dir, "--json", "-q")
    about = json.loads(out)
    assert code == 0
    assert len(about["results"]) == len(USUAL_ARMS)
    assert about["path"] == str(run_dir)


def test_resume_takes_the_settings_of_the_folder(run_dir, monkeypatch, capsys):
    before = (run_dir / "results.csv").read_text()
    (run_dir / "results.csv").unlink()
    code, _, _ = call(monkeypatch, capsys, "resume", run_dir, "-q")
    assert code == 0
    assert (run_dir / "results.csv").read_text() == before


def test_recipe_of_a_run_can_be_given_back(run_dir, monkeypatch, capsys):
    before = (run_dir / "results.csv").read_text()
    recipe = run_dir / "recipe.toml"
    code, _, err = call(monkeypatch, capsys, "sweep", recipe, "--out", run_dir, "-q")
    assert code == 0, err
    assert (run_dir / "results.csv").read_text() == before


@pytest.mark.parametrize("generator", ["cvae", "ddpm"])
def test_dry_run_estimates_and_writes_nothing(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ["run", *FAST, "--generator", generator]
    code, out, _ = call(monkeypatch, capsys, *asked, "--dry-run", "--json")
    about = json.loads(out)
    assert code == 0
    # a model, its images, the judges of halves; the other judge is real+classic
    assert about["stages"] == 3 + len(USUAL_ARMS)
    assert len(about["cells"]) == len(USUAL_ARMS)
    assert about["estimated_seconds"] >= 0
    assert list(tmp_path.iterdir()) == []


def test_dry_run_tells_cells_apart_by_how_they_use_synthetic_images():
    from augment.engine.estimate import cell_names

    arms = dict(arm="real,real+synth,synth", generator="ddpm,noise", seeds=1)
    recipe = make_recipe(**arms, mixing="confirmed,constant", ratio="1,5").resolved("cpu")
    names = cell_names(expand(recipe))
    assert len(names) == len(set(names)) == 1 + 2 * 4 + 2 * 2
    assert names[0] == "digits, 10 a class, seed 0: real"
    assert names[-1] == "digits, 10 a class, seed 0: synth (noise), ratio 5.0"
    plain = cell_names(expand(make_recipe(**arms).resolved("cpu")))
    assert plain[1] == "digits, 10 a class, seed 0: real+synth (ddpm)"


@pytest.mark.parametrize(("wall", "told"), [(1.0, False), (9.0, True)])
def test_estimate_counts_the_processor_and_tells_of_other_work(wall, told, monkeypatch):
    from augment.engine import estimate
    from augment.engine.stage_timing import Cost

    def costs(kinds, jobs, threads):
        return dict.fromkeys(kinds, Cost(100 * wall, 100.0))

    monkeypatch.setattr(estimate, "time_stages", costs)
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # two processes, of one thread each
    recipe = make_recipe(generator="cvae", arm="real,real+synth", seeds=1, preset="smoke")
    about = estimate.plan(recipe, data_dir=None, device="cpu", jobs=None)
    # generator, images, judge and its halves, then its classifier; `real` beside them
    assert 500 <= about["estimated_seconds"] < 600
    assert ("busy" in about) == told


def test_estimate_knows_that_a_generator_is_waited_for():
    from augment.engine.estimate import makespan

    one = [(None, False, 2.0), ("a", True, 10.0), ("a", False, 2.0), ("a", False, 2.0)]
    assert makespan(one, 1) == 16
    assert makespan(one, 2) == 12  # not 8: the second process has nothing to do
    assert makespan([*one, ("b", True, 10.0)], 2) == 14


def test_sample_draws_the_wanted_label(run_dir, tmp_path, monkeypatch, capsys):
    words = ["sample", run_dir, "--label", "7", "-n", "5", "--seed", "1", "--out"]
    code, out, _ = call(monkeypatch, capsys, *words, tmp_path / "a")
    assert code == 0
    assert out.strip() == str(tmp_path / "a" / "sheet.png")
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == [f"{i:04d}-7.png" for i in range(5)] + ["sheet.png"]
    call(monkeypatch, capsys, *words, tmp_path / "b")
    same = [(tmp_path / d / "0003-7.png").read_bytes() for d in "ab"]
    assert same[0] == same[1]


def test_sample_draws_labels_at_random(run_dir, tmp_path, monkeypatch, capsys):
    words = ["sample", run_dir, "--random", "-n", "12", "--seed", "1", "--json"]
    _, out, _ = call(monkeypatch, capsys, *words, "--out", tmp_path)
    assert len(set(json.loads(out)["labels"])) > 3


def test_sample_of_an_unknown_label_names_the_valid_ones(run_dir, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "sample", run_dir, "--label", "12")
    assert code == 2
    assert "valid are 0, 1, 2" in err


def test_export_is_an_image_folder(run_dir, tmp_path, monkeypatch, capsys):
    from torchvision.datasets import ImageFolder

    out = tmp_path / "augmented"
    code, _, err = call(monkeypatch, capsys, "export", run_dir, out)
    assert code == 0
    assert "30 labelled and 60 synthetic images" in err
    read = ImageFolder(str(out / "train"))
    assert read.classes == [str(k) for k in range(10)]
    assert len(read) == 90
    assert "Not anonymous" in (out / "README.md").read_text()
    code, out_text, _ = call(monkeypatch, capsys, "check", out, "--json")
    assert code == 0
    assert json.loads(out_text)["classes"] == 10
    code, _, err = call(monkeypatch, capsys, "export", run_dir, out)
    assert code == 2
    assert "exists" in err
    assert len(ImageFolder(str(out / "train"))) == 90


def test_export_names_the_layouts_that_there_are(run_dir, tmp_path, monkeypatch, capsys):
    from augment.report.export_formats import EXPORT_FORMATS

    named = {option.name: option.metavar for option in options_of("export")}["layout"]
    assert named == "|".join(EXPORT_FORMATS)
    out = tmp_path / "augmented"
    code, _, err = call(monkeypatch, capsys, "export", run_dir, out, "--format", "coco")
    assert code == 2
    assert "valid are imagefolder, hf" in err
    assert not out.exists()


def test_list_names_every_entry(monkeypatch, capsys):
    _, out, _ = call(monkeypatch, capsys, "list", "--json")
    assert set(json.loads(out)["generator"]) == set(GENERATORS)
    _, out, _ = call(monkeypatch, capsys, "list")
    assert "real+classic+synth\t" in out


def test_doctor_names_versions_and_room(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "doctor", "--json")
    about = json.loads(out)
    assert code == 0
    assert about["versions"]["torch"]
    assert about["cached"] == ["digits"]


def test_doctor_says_how_to_get_what_is_missing(tmp_path, monkeypatch, capsys):
    (tmp_path / "mnist.npz").touch()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(
        "augment.runtime.machine.EXTRAS", {"js": "json", "no_such_extra": "no_such_module"}
    )
    code, out, _ = call(monkeypatch, capsys, "doctor", "--data-dir", tmp_path)
    lines = dict(line.split("\t") for line in out.splitlines())
    assert code == 0
    assert lines["cached"] == "digits, mnist"
    assert lines["missing: data sets"].startswith("fashion-mnist, kmnist")
    assert lines["missing: data sets"].endswith(f"or put NAME.npz into {tmp_path}")
    assert "built" in lines["missing: GPU"]
    assert lines["missing: no_such_extra"] == "pip install 'augment-compare[no_such_extra]'"
    assert "missing: json" not in lines


def test_check_exits_3_on_unreadable_images(tmp_path, monkeypatch, capsys):
    root = write_folder(tmp_path / "images", bars(6))
    (root / "across" / "bad.png").write_bytes(b"no picture")
    code, out, err = call(monkeypatch, capsys, "check", root)
    assert code == 3
    assert "bad.png" in out
    code, _, err = call(monkeypatch, capsys, "run", "--dataset", root, "--out", tmp_path / "run")
    assert code == 3
    assert "--skip-bad" in err


def test_quiet_run_says_nothing_but_its_table(tmp_path, monkeypatch, capsys):
    words = ["--arm", "real,real+classic", "--out", tmp_path / "run"]
    code, out, err = call(monkeypatch, capsys, "run", *FAST, *words, "-q")
    assert (code, err) == (0, "")
    assert "real+classic" in out


def test_failed_cells_exit_4(tmp_path, monkeypatch, capsys):
    words = [*FAST, "--set", "generator.steps=40", "--set", "cvae.lr=1e18"]
    code, out, err = call(monkeypatch, capsys, "run", *words, "--out", tmp_path / "run", "-q")
    assert code == 4
    synthetic = sum(ARMS[arm].synthetic for arm in USUAL_ARMS)
    assert f"{synthetic} of {len(USUAL_ARMS)} cells failed" in err
    assert "0/1" in out


def test_folder_of_other_settings_exits_6(run_dir, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "run", "--seeds", "4", "--out", run_dir)
    assert code == 6
    assert "made by other settings" in err
    assert "affords" not in err


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_says_how_to_go_on(tmp_path, kind, code):
    words = ["run", "--generator", "cvae", "--preset", "quick", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "augment", *words, "--jobs", "1"],
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs this suite in the background has its children ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(tmp_path.glob("run/artefacts/*/*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(kind)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "augment resume RUN" in err


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_signal_whose_exception_was_swallowed_ends_the_run_at_its_next_step(monkeypatch, kind):
    monkeypatch.setattr(signals, "SIGNALLED", [])
    closed = []

    def steps():
        try:
            yield "first"
            with contextlib.suppress(BaseException):  # as an import with a bare except does
                os.kill(os.getpid(), kind)
                time.sleep(1)
            yield "second"
            yield "third"
        finally:
            closed.append(True)

    with signals.ended_by_signals():
        seen = signals.until_signalled(steps())
        assert next(seen) == "first"
        with pytest.raises(SystemExit) as end:
            next(seen)
    assert end.value.code == 128 + kind
    assert closed == [True]


def test_lines_of_progress_have_rate_and_time_left(tmp_path):
    _, _, err = command(
        "run", *FAST, "--set", "generator.steps=300", "--out", str(tmp_path / "r"), "-v"
    )
    assert re.search(r"generator \d+/300 [\d.]+/s \d+ s left loss ", err)


def test_curves_go_to_tensorboard_if_it_is_there(run_dir, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "report", run_dir, "--tensorboard")
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        assert code == 5
        assert "augment-compare[tensorboard]" in err
    else:
        assert code == 0
        assert len(list((run_dir / "tensorboard").iterdir())) == 1 + len(USUAL_ARMS)  # a generator


def test_compare_draws_both_runs_on_one_sheet(run_dir, tmp_path, monkeypatch, capsys):
    from PIL import Image

    sheet = tmp_path / "sheet.png"
    code, out, err = call(monkeypatch, capsys, "compare", run_dir, run_dir, "--sheet", sheet)
    assert code == 0, err
    assert "right class %" in out
    code, out, err = call(monkeypatch, capsys, "compare", run_dir, run_dir, "--json")
    found = json.loads(out)
    assert {line["arm"] for line in found["arms"]} >= {"real", "real+classic+synth"}
    pictures = {(line["features"], line["measure"]): line for line in found["pictures"]}
    assert len({space for space, _ in pictures}) == 2
    assert len({measure for _, measure in pictures}) == len(MEASURES)
    assert all(line["a"] == line["b"] for line in pictures.values())
    (grid,) = run_dir.glob("artefacts/synthetic/*/grid.png")
    with Image.open(grid) as one, Image.open(sheet) as both:
        assert (both.width, both.height) == (2 * one.width + 24, one.height)
    code, _, err = call(
        monkeypatch, capsys, "compare", run_dir / "results.csv", run_dir, "--sheet", sheet
    )
    assert code == 2
    assert "no run folder" in err


def test_memory_that_runs_out_is_one_sentence(monkeypatch, capsys):
    def too_large(allocate):
        monkeypatch.setattr("augment.data.check.inspect", lambda *_, **__: allocate(2**52))
        return call(monkeypatch, capsys, "check", "digits")

    code, out, err = too_large(lambda n: torch.empty(n, dtype=torch.uint8))
    assert (code, out) == (5, "")
    assert err.startswith("error: out of memory (4.5e+06 GB were asked for at once): give --jobs 1")
    assert len(err.splitlines()) == 1
    code, out, err = too_large(lambda n: np.empty(n, np.uint8))
    assert (code, out, len(err.splitlines())) == (5, "", 1)
    assert "(4.00 PiB were asked for at once)" in err


def test_words_of_size_have_any_case():
    assert [make_recipe(size=size).size for size in ("Auto", "NATIVE", " 32 ", None)] == [
        None,
        "native",
        32,
        None,
    ]
