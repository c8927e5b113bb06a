"""The table of flags, and what follows from it: parser, defaults, help, what a run stores and what may change."""
import pytest

from minitorch_alex.errors import UsageError
from minitorch_alex.training import settings
from minitorch_alex.training.runs import Run


def config_of(*argv):
    return settings.new_config(*settings.parse(["-a", "quick_26", "--data", "shapes", *argv]))[0]


def test_a_flag_that_is_not_given_has_the_default_of_the_table():
    args, given = settings.parse([])
    assert given == set()
    assert vars(args) == {name: flag.default for name, flag in settings.BY_NAME.items()} | {"directory": None}
    assert settings.parse(["--epochs", "3", "-j", "2"])[1] == {"epochs", "workers"}


def test_the_help_shows_the_defaults_of_the_table():
    text = " ".join(settings.parser().format_help().split())
    for part in ("(default: 50)", "(default: 0.1)", "(default: alexnet_cifar)", "(default: MODEL-DATA)"):
        assert part in text
    assert "(default: None)" not in text and "(default: False)" not in text


def test_a_run_stores_what_the_table_says_and_what_older_runs_stored():
    config = config_of("--seed", "5")
    assert set(config) == {
        "model", "data", "data_dir", "recipe_name", "seed", "val_split", "limit", "workers", "print_freq",
        "checkpoint_freq", "threads", "backend", "precision", "memory_limit", "deterministic", "conv",
        "workspace", "data_size", "num_classes", "classes", "class_digest", "model_fields",
        "preset_edition", "recipe", "layer_decay", "weights", "freeze", "early_stop", "log", "data_parts", "data_place",
        "scale"}
    assert config["seed"] == 5 and set(settings.IN_RECIPE) <= set(config["recipe"])


@pytest.mark.parametrize("name", [n for n, flag in settings.BY_NAME.items() if flag.minimum is not None])
def test_a_value_below_the_minimum_is_refused(name):
    flag = settings.BY_NAME[name]
    with pytest.raises(UsageError, match=f"{flag.name} must be .*, got {flag.minimum - 1:g}"):
        settings.parse([flag.name, str(int(flag.minimum - 1))])


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    run.write_json(run.config, config_of("--lr", "0.5", "--limit", "100"))
    return run


@pytest.mark.parametrize("argv", (
    ["--lr", "0.5"], ["--limit", "100"], ["-a", "quick_26"], ["--name", "x"], ["--mine"]))
def test_the_same_value_may_be_given_again(run, argv):
    assert settings.resumed_config(run, *settings.parse(argv)) == run.read_config()


@pytest.mark.parametrize("argv", (
    ["--lr", "0.4"], ["--limit", "0"], ["-a", "net_18"], ["--conv", "winograd"], ["--set", "flip=True"],
    ["--overwrite"], ["--dry-run"]))
def test_another_value_is_refused_by_name(run, argv):
    name = "--model" if argv[0] == "-a" else argv[0]
    with pytest.raises(UsageError, match=f"{name} cannot be changed when resuming"):
        settings.resumed_config(run, *settings.parse(argv))


def test_what_may_change_is_taken_over(run):
    argv = ["--epochs", "7", "--threads", "3", "--print-freq", "9", "--data-dir", "elsewhere"]
    config = settings.resumed_config(run, *settings.parse(argv))
    assert config["recipe"]["epochs"] == 7
    assert (config["threads"], config["print_freq"], config["data_dir"]) == (3, 9, "elsewhere")


@pytest.mark.parametrize("on, conv", ((False, "im2col"), (True, "winograd")))
def test_a_run_from_before_conv_goes_on_as_it_was(run, on, conv):
    old = run.read_config() | {"winograd": on}
    del old["conv"]
    run.write_json(run.config, old)
    assert settings.resumed_config(run, *settings.parse([]))["conv"] == conv
