import numpy as np
import pytest

from disttrain.data.importers.expression import function_of_x
from disttrain.errors import UsageError

X = np.linspace(0.1, 2, 7)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x", X),
        ("3", np.full(7, 3.0)),
        ("sin(3*x) + 0.3*x", np.sin(3 * X) + 0.3 * X),
        (" -x**2 / (1 + exp(-x)) ", -(X**2) / (1 + np.exp(-X))),
        ("2 - +abs(x - 1) * pi ** e", 2 - np.abs(X - 1) * np.pi**np.e),
        ("log(x) - sqrt(x) + tanh(cos(tan(x))) * sign(x)", None),
    ],
)
def test_formulas(text, values):
    if values is None:
        values = np.log(X) - np.sqrt(X) + np.tanh(np.cos(np.tan(X)))
    np.testing.assert_allclose(function_of_x(text)(X), values, rtol=1e-15)


def test_what_is_undefined_comes_out_so():
    assert np.isnan(function_of_x("log(x)")(np.array([-1.0]))).all()
    assert np.isinf(function_of_x("1 / x")(np.array([0.0]))).all()
    assert np.isinf(function_of_x("9**9**9**9 + 0*x")(X)).all()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("3x", "is not a function of x: write it like"),
        ("", "is not a function of x"),
        ("sin(x", "is not a function of x"),
        ("9" * 150 + "1" * 60, "has 210 characters"),
        ("(" * 99 + "x" + ")" * 99, None),
        ("-" * 199 + "x", None),
        ("y + 1", "'y' in 'y \\+ 1' is not known: .* x, e, pi, abs"),
        ("x.real", "'x.real' in"),
        ("__import__('os').system('true')", "is not known"),
        ("sin", "'sin' in"),
        ("sin(x, x)", "is not known"),
        ("x if x else 1", "is not known"),
        ("x % 2", "is not known"),
        ("True", "is not known"),
        ("1j", "is not known"),
        ("x\0", None),
    ],
)
def test_anything_else_is_refused_and_never_run(text, cause):
    if cause is None:  # whatever Python makes of it, no other error than ours
        try:
            function_of_x(text)
        except UsageError:
            return
    else:
        with pytest.raises(UsageError, match=cause):
            function_of_x(text)
