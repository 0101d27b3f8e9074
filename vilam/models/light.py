"""Imports transformers' models without what only training and compilation need.

The classes of models in transformers import torch's compiler, torch's distributed tensors, accelerate and SciPy, which
together take longer than torch itself. A process that answers a question and ends uses none of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

OPTIONAL = ("accelerate", "scipy", "sklearn")
"""Packages that transformers imports only if they are installed."""
COMPILER = ("torch._dynamo", "torch._dynamo._trace_wrapped_higher_order_op")
"""Modules of torch's compiler from which transformers takes marks of functions, and a context manager of masks."""


@contextmanager
def light_imports() -> Iterator[None]:
    """Inside, imports of transformers leave out OPTIONAL, COMPILER and torch's distributed tensors.

    transformers remembers that they are missing: for a process that neither trains nor compiles nor distributes. What
    is imported already stays as it is. Afterwards everything can be imported as usual.
    """
    absent: dict[str, Any] = dict.fromkeys(OPTIONAL)  # None: Python raises ImportError for such a name
    stand_ins = {name: _StandIn(name) for name in COMPILER}
    hidden = {name: each for name, each in {**absent, **stand_ins}.items() if name not in sys.modules}
    is_available = torch.distributed.is_available
    sys.modules.update(hidden)
    torch.distributed.is_available = lambda: False
    try:
        yield
    finally:
        torch.distributed.is_available = is_available
        for name in hidden:
            del sys.modules[name]


def has_light_imports(folder: Path) -> bool:
    """Whether the model in a folder answers without what is left out: a composed model without adapters."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return bool(config["model_type"] == "vilam" and config["lora"] is None)
    except (OSError, ValueError, KeyError, TypeError):  # no model, or a damaged one: opening it says so
        return False


class _StandIn(ModuleType):
    """Stands in for a module of torch's compiler: what is taken from it does nothing, or is imported when it is called.

    ``disable``, ``allow_in_graph`` and ``assume_constant_result`` mark a function for the compiler and return it.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _later(self.__name__, name)


def _later(module: str, name: str) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        if args and callable(args[0]):
            return args[0]
        if options and module == COMPILER[0]:
            return lambda function: function
        return getattr(import_module(module), name)(*args, **options)

    return call
