"""
The function that makes a user's own network: found by its name, called with what it asks for.

`module:function` names it. It gets, by keyword, those of `PARAMETERS` that it names. The defaults
of `image_size`, `channels`, `mean` and `std` state its network's input.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from iqa.imaging.preprocessing import Policy
from iqa.tasks.task import Head
from torch import nn

from training.networks import timm_models
from training.networks.names import OF_A_FUNCTION, TIMM

PARAMETERS: Final = (
    "n_outputs", "n_channels", "image_size", "channels", "mean", "std", "dropout",
)  # fmt: skip

Function = Callable[..., nn.Module]


def function_of(name: str) -> Function:
    """
    Import the function that a name stands for.

    Raises:
        ValueError: It cannot be imported, or takes no `n_outputs`: then it makes no networks, and
            is not called.
    """
    if name.startswith(TIMM):
        return timm_models.function_of(name.removeprefix(TIMM))
    if not re.fullmatch(OF_A_FUNCTION, name):
        raise ValueError(f"network: expected module:function or timm:NAME, got {name!r}.")
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(
            f"network {name}: expected a module {module_name} to import, got "
            f"{type(error).__name__}: {error}. Run the command in the folder that holds it, or add "
            "that folder to PYTHONPATH."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        there = sorted(key for key, value in vars(module).items() if inspect.isfunction(value))
        raise ValueError(
            f"network {name}: expected a function {function_name} in {module.__file__}, got none. "
            f"There are: {', '.join(there[:5]) or 'no functions'}."
        )
    if "n_outputs" not in parameter_names(function):
        raise ValueError(
            f"network {name}: expected a function that takes n_outputs, the number of classes (1 "
            f"for quality), got {function_name}({', '.join(parameter_names(function))}). Add it."
        )
    return function


def parameters_of(
    function: Function, name: str, head: Head, policy: Policy, dropout: float
) -> dict[str, Any]:
    """
    Return what a network is made with: for its function, and the statistics of its input.

    Args:
        function: Of the name.
        name: For messages.
        head: Its outputs.
        policy: How an image becomes its input.
        dropout: Of the command line.

    Raises:
        ValueError: The function needs something else.
    """
    unknown = [
        key
        for key, value in _signature(function).items()
        if key not in PARAMETERS
        and value.default is inspect.Parameter.empty
        and value.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]
    if unknown:
        raise ValueError(
            f"network {name}: expected parameters of {', '.join(PARAMETERS)}, got "
            f"{', '.join(unknown)} too. Give these a default."
        )
    taken = parameter_names(function)
    n_channels = policy.n_channels
    known = {
        "n_outputs": head.n_outputs, "n_channels": n_channels, "channels": policy.channels,
        "dropout": dropout,
    }  # fmt: skip
    if policy.is_one_size:  # images of quality keep their own shapes
        known["image_size"] = [policy.width_px, policy.height_px]
    stated = _defaults(function)
    return {key: value for key, value in known.items() if key in taken} | {
        key: _by_channel(stated.get(key, default), n_channels, f"network {name}: {key}")
        for key, default in (("mean", 0.0), ("std", 1.0))
    }


def parameter_names(function: Function) -> list[str]:
    """Return the names of what a function takes, in its order."""
    return list(_signature(function))


def stated_defaults(name: str) -> dict[str, Any]:
    """Return the options that a function's own defaults stand for, as `by_name` does."""
    stated = _defaults(function_of(name))
    told: dict[str, Any] = {key: stated[key] for key in ("image_size", "channels") if key in stated}
    if "image_size" in told:
        told["image_size"] = tuple(told["image_size"])
    return told if name.startswith(TIMM) else {**told, "weights": "none"}


def _by_channel(value: Any, n_channels: int, what: str) -> list[float]:
    values = [float(one) for one in (value if isinstance(value, Sequence) else [value])]
    if len(values) == 3 and n_channels == 1:
        values = [sum(values) / 3]
    if len(values) == 1:
        values *= n_channels
    if len(values) != n_channels:
        raise ValueError(f"{what}: expected {n_channels} numbers in [0, 1], got {len(values)}.")
    return values


def _signature(function: Function) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # of a function in C
        return {}


def _defaults(function: Function) -> dict[str, Any]:
    return {
        key: value.default
        for key, value in _signature(function).items()
        if value.default is not inspect.Parameter.empty
    }
