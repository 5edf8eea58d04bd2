"""What cyclopts finds wrong with a command line, in one line that names the flag, the value and what is accepted."""

from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from queuectl import units

_HINT = "put -- before a command of several words (queuectl {command} -- ls -l), or quote it ('ls -l')"


def explain(error: CycloptsError) -> str:
    """One line for the person who typed it."""
    chain = " ".join(error.command_chain or ())
    more = f"see queuectl {chain} --help" if chain else "see queuectl --help"
    if isinstance(error, UnknownCommandError):
        word = (error.unused_tokens or [""])[0]
        known = [name for name in (error.app or ()) if not name.startswith("-")]
        prefix = f"{chain} " if chain else ""
        return f"there is no command {prefix + word!r}{units.nearest(word, known)}; {more}"
    if isinstance(error, UnknownOptionError):
        word = error.token.keyword or error.token.value
        if not chain:
            return f"{word!r} is no command; options stand behind one; {more}"
        if chain in ("enqueue", "run") and not word.startswith("--"):
            return f"{chain} has no option {word}; {_HINT.format(command=chain)}"
        known = [name for argument in error.argument_collection if argument.parse for name in argument.names]
        close = units.nearest(word, [name for name in known if name.startswith("--")])
        hint = f"; {_HINT.format(command=chain)}" if chain in ("enqueue", "run") and not close else ""
        return f"{chain} has no option {word}{close}{hint or '; ' + more}"
    if isinstance(error, UnusedCliTokensError):
        word = (error.unused_tokens or [""])[0]
        return f"{chain}: {word!r} is one word too many; {more}" if chain else f"there is no command {word!r}; {more}"
    if isinstance(error, RepeatArgumentError):
        return f"{error.token.keyword or _name(error)} is given twice"
    if isinstance(error, MissingArgumentError):
        name = error.keyword or _name(error)
        return f"{name} needs a value" if name.startswith("-") else f"{chain} needs {_article(name)}; {more}"
    if isinstance(error, CoercionError):
        name = (error.token.keyword if error.token else None) or _name(error)
        if error.msg is not None:
            return f"{name}: {str(error.msg).removeprefix(name.lstrip('-').replace('-', '_') + ': ')}"
        choices = error.argument.get_choices(force=True) if error.argument else None
        if error.token and choices:
            value = error.token.value
            return f"{name}: {value!r} is not one of {', '.join(choices)}{units.nearest(value, choices)}"
        if error.token and name.startswith("-"):
            return f"{name}: takes no value {error.token.value!r}"
    return " ".join(str(error).split())


def _name(error: CycloptsError) -> str:
    return error.argument.name if error.argument else ""


def _article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIO' else 'a'} {name}"
