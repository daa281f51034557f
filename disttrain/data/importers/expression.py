"""Reads a formula in x, such as sin(3*x) + 0.3*x, and computes it without running any code."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

import numpy as np

from disttrain.data.format import Array
from disttrain.errors import UsageError

__all__ = ["function_of_x"]

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "cos": np.cos,
    "exp": np.exp,
    "log": np.log,
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
CONSTANTS = {"e": math.e, "pi": math.pi}
OPERATORS: dict[type[ast.operator], Callable[[Array, Array], Array]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
LONGEST = 200


def function_of_x(text: str) -> Callable[[Array], Array]:
    """Return the function that `text` describes, from an array of float64 to one of equal shape.

    Known are numbers, x, pi, e, + - * / **, brackets, and the names in FUNCTIONS. Raises
    UsageError, here, for anything else; what is undefined at an x comes out as NaN or infinity.
    """
    if len(text) > LONGEST:
        raise UsageError(f"the function has {len(text)} characters, but at most {LONGEST} are read")
    try:
        formula = ast.parse(text.strip(), mode="eval").body
        _value(formula, np.zeros(1), text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"'{text}' is not a function of x: write it like sin(3*x) + 0.3*x, with every * and "
            "with ** for powers"
        ) from error
    return lambda x: _value(formula, x, text)


def _value(node: ast.expr, x: Array, text: str) -> Array:
    with np.errstate(all="ignore"):
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return np.full_like(x, float(number))
            case ast.Name(id="x"):
                return x
            case ast.Name(id=name) if name in CONSTANTS:
                return np.full_like(x, CONSTANTS[name])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](_value(left, x, text), _value(right, x, text))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -_value(operand, x, text)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return _value(operand, x, text)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if (
                name in FUNCTIONS
            ):
                return FUNCTIONS[name](_value(argument, x, text))
    raise UsageError(
        f"'{ast.unparse(node)}' in '{text}' is not known: a function is made of numbers, x, "
        f"{', '.join([*CONSTANTS, *FUNCTIONS])}, + - * / ** and brackets"
    )
