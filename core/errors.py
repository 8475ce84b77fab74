"""Errors named by whose fault they are. Everything else that is raised is our bug."""

from __future__ import annotations


class RaycipeError(Exception):
    """An error that is shown to the user in one or two plain lines, without a traceback."""

    exit_code = 1


def first_line(error: Exception) -> str:
    """What a library's error says first; its kind where it says nothing."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]


class RecipeError(RaycipeError):
    """The user's recipe or arguments are wrong."""

    exit_code = 2


class DataError(RaycipeError):
    """The user's data are wrong: a missing or broken file, a row that does not fit its mapping."""

    exit_code = 2


class ResourceError(RaycipeError):
    """It will not fit, or something that is needed (disk, GPU, package, permission) is not there."""

    exit_code = 3
