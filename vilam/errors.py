"""Errors for people: one line that says what is wrong, where, and what to do."""

LONGEST = 200
"""Characters to which a message of a library is cut."""


class VilamError(Exception):
    """A mistake in the input, the settings or the environment, worded for the person who can fix it.

    The command line prints its message alone and exits with 1; anything else is a bug and keeps its traceback.
    """


def first_line(error: BaseException) -> str:
    """The first line of another library's error, or the name of its class where it has no message."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:LONGEST]
