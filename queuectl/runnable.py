"""What a job runs: a line for a shell, or a program with its arguments."""

import shlex

import msgspec

SHELL = "/bin/sh"
"""The shell that runs a command line, by default."""


class Shell(msgspec.Struct, frozen=True, gc=False):
    """A command line, run by the shell at the absolute path `shell`."""

    line: str
    shell: str = SHELL

    @property
    def text(self) -> str:
        """One line of shell that says what is run."""
        return self.line

    @property
    def words(self) -> tuple[str, ...]:
        """The program and its arguments, as they are executed."""
        # A line that begins so would be taken for an option of the shell.
        end_of_options = ("--",) if self.line[:1] in ("-", "+") else ()
        return (self.shell, "-c", *end_of_options, self.line)


class Argv(msgspec.Struct, frozen=True, gc=False):
    """A program and its arguments, run without a shell."""

    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line of shell that says what is run."""
        return shlex.join(self.words)


Runnable = Shell | Argv
