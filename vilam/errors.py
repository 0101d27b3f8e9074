"""Errors that are told to people: one line that says what, where and what to do."""


class VilamError(Exception):
    """A mistake in the input, the settings or the environment, worded for the person who can mend it.

    The command line prints its message alone and exits with 1; anything else is a bug and keeps its traceback.
    """
