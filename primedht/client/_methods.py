"""Methods made of requests: both clients have the arguments and the documentation of `_ops`, once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def documented_as(request: Callable[..., Any], *, returns: str) -> Callable[[F], F]:
    """Give a method the name, the parameters and the documentation of the request that it makes.

    returns: the form of the method's annotation, with `{}` for what the request's calls give.
    """

    def document(method: F) -> F:
        signature = inspect.signature(request)
        this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        item = str(signature.return_annotation).removeprefix("Call[").removesuffix("]")
        method.__name__ = method.__qualname__ = request.__name__
        method.__doc__ = request.__doc__
        method.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[this, *signature.parameters.values()], return_annotation=returns.format(item)
        )
        return method

    return document
