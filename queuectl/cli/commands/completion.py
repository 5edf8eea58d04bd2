"""`queuectl completion`: what makes a shell complete the command line of queuectl."""

import os
from typing import Annotated

from queuectl import units
from queuectl.cli import completion
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output
from queuectl.errors import Invalid

_SHELLS = ("bash", "zsh", "fish")


def print_completion(
    shell: Annotated[str, p.Parameter(name="SHELL", help="bash, zsh or fish.", values=v.words(*_SHELLS))],
    /,
) -> None:
    """Print what makes a shell complete command lines of queuectl, names in the queue too.

    $ queuectl completion bash > ~/.local/share/bash-completion/completions/queuectl
    $ queuectl completion zsh > ~/.zfunc/_queuectl
    $ queuectl completion fish > ~/.config/fish/completions/queuectl.fish

    A new shell has it then: bash where bash-completion is installed, zsh where the folder is in its `fpath` before
    `compinit`. In the present one, of bash: eval "$(queuectl completion bash)".
    """
    if shell not in _SHELLS:
        raise Invalid(f"there is no completion for {shell!r}{units.nearest(shell, _SHELLS)}; for {', '.join(_SHELLS)}")
    path = os.path.join(os.path.dirname(completion.__file__), "scripts", f"queuectl.{shell}")
    with open(path, encoding="utf-8") as script:
        output.line(script.read().removesuffix("\n"))
