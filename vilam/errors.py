"""Errors for people: one line that says what is wrong, where, and what to do."""

LONGEST = 200
"""Characters to which a message of another library is cut."""


class VilamError(Exception):
    """A mistake in the input, the settings or the environment, with a message for the person who can fix it.

    The command line prints only the message and exits with 1; any other exception is a bug and keeps its traceback.
    """


def one_line(error: BaseException) -> str:
    """The message of another library's error on one line, or the name of its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of another library's error, or the name of its class if it has no message."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:LONGEST]
