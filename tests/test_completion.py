"""The scripts of --print-completion, tried in bash itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bertie import completion
from bertie.errors import SettingsError

TRY = """
source ./script
words=("$@")
COMP_WORDS=("${words[@]}"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
_shtab_bertie bertie "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("completion")
    (place / "script").write_text(completion.script(["bash"]), encoding="utf-8")
    (place / "table.tsv").touch()
    return place


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["fine"], {"finetune"}),
        (["pre"], {"predict", "prepare-corpus", "pretrain"}),
        (["finetune", "--epo"], {"--epochs"}),
        (["finetune", "--training.save-e"], {"--training.save-every"}),
        (["finetune", "--task", "class"], {"classification"}),
        (["predict", "--precision", "b"], {"bf16"}),
        (["pretrain", "--model.start", "n"], {"neighbours"}),
        (["finetune", "model", "--dev", "tab"], {"table.tsv"}),
        (["evaluate", "tab"], {"table.tsv"}),
        (["finetune", "--no-such"], set()),
    ],
)
def test_bash_completes(folder: Path, words: list[str], offered: set[str]) -> None:
    done = subprocess.run(
        ["bash", "-c", TRY, "bash", "bertie", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_has_a_script(shell: str) -> None:
    script = completion.script([shell])
    assert "train-tokenizer" in script and "--learning-rate" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)  # reads the script without running it


@pytest.mark.parametrize("words", [[], ["bsh"], ["bash", "zsh"], ["powershell"]])
def test_another_shell_is_refused(words: list[str]) -> None:
    with pytest.raises(SettingsError, match="--print-completion takes one of bash, zsh, fish"):
        completion.script(words)


def test_the_command_line_prints_it() -> None:
    command = [sys.executable, "-m", "bertie", "--print-completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "complete " in done.stdout and done.stderr == ""
