"""Words of other tools: each is answered with a setting that the command has, or with no setting at all."""

import re
from typing import Any

import pytest

from bertie import config, flags, hints, registry, synonyms
from bertie.errors import SettingsError

COMMANDS = [name for name in registry.choices("commands") if name != "run"]
WORDS = sorted({word for words, _, _ in synonyms.ROWS for word in words.split()})


def function(command: str) -> Any:
    return getattr(registry.load("commands", command), command)


def refusal(command: str, *words: str) -> str:
    with pytest.raises(SettingsError) as error:
        flags.parse(function(command), list(words))
    return str(error.value)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_in_a_hint_is_one_of_the_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flags.parse(function(command), ["--help-all"])
    shown = set(re.findall(r"--[a-z][a-z0-9.-]*", capsys.readouterr().out))
    assert "--json" in shown
    keys = config.known_keys(function(command))
    for word in WORDS:
        typed = f"--{word}"
        if word in keys:
            continue
        message = refusal(command, typed)
        said = message.partition("; ")[2]
        assert said, message
        for flag in re.findall(r"--[a-z][\w.-]*", said):
            assert flag.rstrip(".") in shown or flag == "--help", message


@pytest.mark.parametrize("command", COMMANDS)
def test_every_value_in_a_hint_is_one_that_the_setting_takes(command: str) -> None:
    for words, target, _ in synonyms.ROWS:
        key, equals, value = target.partition("=")
        word = words.split()[-1]
        said = hints.hint(word, config.known_keys(function(command)), lambda key, value: f"{key}={value}")
        if equals and said.startswith(f"did you mean {target}?") and value != "20%":
            typed: Any = dict([value.split("=")]) if "=" in value else value
            group, dot, name = key.rpartition(".")
            config.validate(function(command), {group: {name: typed}} if dot else {name: typed}, partial=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_in_python_every_key_in_a_hint_is_one_of_the_command(command: str) -> None:
    keys = config.known_keys(function(command))
    for word in WORDS:
        if word in keys:
            continue
        with pytest.raises(SettingsError) as error:
            config.validate(function(command), {word: 1}, partial=True)
        meant = re.search(r"did you mean '?([\w.]+)", str(error.value))
        assert meant is None or meant[1] in keys, error.value
        assert "--" not in str(error.value)
        assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("finetune m --lr 1e-5", "unknown flag --lr; did you mean --learning-rate?"),
        ("finetune m --LR=1e-5", "unknown flag --LR; did you mean --learning-rate?"),
        ("finetune m -lr 1e-5", "unknown flag -lr; did you mean --learning-rate?"),
        ("finetune m --max_seq_length 64", "unknown flag --max_seq_length; did you mean --length?"),
        ("finetune m --max-seq-length 64", "unknown flag --max-seq-length; did you mean --length?"),
        ("finetune m --bs 8", "did you mean --batch-size?"),
        ("predict m --bs 8", "did you mean --batch-tokens?"),
        ("finetune m --gpu 0", "did you mean --device cuda?"),
        ("finetune m --no_cuda", "did you mean --device cpu?"),
        ("finetune m --save-steps 5", "did you mean --training.save-every?"),
        ("finetune m --save-every 5", "did you mean --training.save-every?"),
        ("finetune m --warmup_steps 100", "did you mean --schedule.warmup? It is a share of the run"),
        ("finetune --model_name_or_path m", "did you mean MODEL, without a flag?"),
        ("pretrain --model_name_or_path m", "did you mean --from?"),
        ("finetune m --train_file a", "did you mean --train?"),
        ("pretrain --train_file a", "did you mean --corpus?"),
        ("finetune m --do_train", "this command only trains, so leave it out"),
        ("search m f --out x", "did you mean --json?"),
        ("predict m --output_file x", "did you mean --out?"),
        ("finetune m --overwrite_output_dir", "choose another --out, or continue the run with --resume"),
        ("finetune m --test_file a", "bertie evaluate MODEL FILE"),
        ("finetune m --imgsz 640", "unknown flag --imgsz; see bertie finetune --help"),
        ("predict m --lr 1", "unknown flag --lr; that is for finetune and pretrain; see bertie predict --help"),
        ("predict m --training.best", "that is for finetune and pretrain; see bertie predict --help"),
        ("finetune m --training.foo 1", "there are --training.log-every, --training.evaluate-every"),
        ("finetune m --no-length", "--length is not a switch: leave it out, or give it a value"),
        ("finetune m --no-training.best", "did you mean --training.no-best?"),
        ("finetune m --resume true", "--resume is a switch and takes no value; --no-resume switches it off"),
        ("finetune m --resume=yes", "--resume is a switch and takes no value"),
    ],
)
def test_hints(words: str, said: str) -> None:
    command, *rest = words.split()
    assert said in refusal(command, *rest)


def test_a_text_may_begin_with_a_dash() -> None:
    parsed, _ = flags.parse(function("predict"), ["m", "-5 degrees", "--", "-lr", "--lr"])
    assert parsed["texts"] == ("-5 degrees", "-lr", "--lr")


def test_switches_and_their_other_form_are_taken() -> None:
    for word, value in (("--resume", True), ("--no-resume", False)):
        parsed, _ = flags.parse(function("finetune"), ["m", "--train", "a", "--out", "o", word])
        assert parsed["resume"] is value


def test_commands_of_other_tools_are_commands_of_ours() -> None:
    known = {name.replace("_", "-") for name in registry.choices("commands")}
    assert set(synonyms.COMMANDS.values()) <= known
    assert not set(synonyms.COMMANDS) & known
