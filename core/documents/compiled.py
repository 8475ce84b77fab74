"""Compiled loops over buffers. Import it, and modules that use it, inside functions: numba is heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compiles at the first call, without the GIL, and keeps the machine code beside the module if it can.

    Functions that call each other belong in one file: the kept code sees changes of its own file only.
    """
    try:
        return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # no directory to be written, neither here nor in the user's home
        return cast(Function, numba.njit(nogil=True, error_model="numpy")(function))
