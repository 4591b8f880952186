"""Operations and Tensor classes that a user defines outside the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygrad_edu as edu
from tinygrad_edu import dtypes, errors, ops, tensors


class Softsign(edu.Elementwise):
    """x / (1 + |x|)."""

    arity = 1
    result = "float"
    c = "({0} / (1 + fabs({0})))"
    gradients = (lambda g, _, x: g / ops.square(1.0 + ops.abs(x)),)

    def forward(self, xp: Any, x: Any) -> Any:
        return x / (1 + xp.abs(x))


class Hypot(edu.Elementwise):
    """The length of (x, y)."""

    arity = 2
    ufunc = "hypot"
    result = "float"
    c = "hypot({0}, {1})"
    gradients = (lambda g, out, x, y: g * x / out, lambda g, out, x, y: g * y / out)


class Add(edu.Elementwise):
    """x + 2 y, by a name that another operation has."""

    arity = 2
    c = "({0} + 2 * {1})"
    gradients = (lambda g, _, x, y: g, lambda g, _, x, y: 2 * g)

    def forward(self, xp: Any, x: Any, y: Any) -> Any:
        return x + 2 * y


class RunningSum(edu.Op):
    """The sums of the first elements along an axis."""

    def forward(self, xp: Any, x: Any, *, axis: int) -> Any:
        return xp.cumsum(x, axis=axis)

    def infer(self, x: Any, *, axis: int) -> Any:
        if not 0 <= axis < len(x.shape):
            raise errors.ArgumentError(f"running_sum: no axis {axis} in shape {x.shape}")
        return x

    def vjp(self, needed: Any, cotangent: Any, out: Any, inputs: Any, params: Any) -> Any:
        backwards = (slice(None),) * params["axis"] + (slice(None, None, -1),)
        return [running_sum(cotangent[backwards], **params)[backwards]]


class SinCos(edu.Op):
    """The sine and the cosine at once."""

    def forward(self, xp: Any, x: Any) -> Any:
        return xp.sin(x), xp.cos(x)

    def infer(self, x: Any) -> Any:
        return x, x

    def vjp(self, needed: Any, cotangent: Any, out: Any, inputs: Any, params: Any) -> Any:
        (of_sin, of_cos), (sin, cos) = cotangent, out
        return [of_sin * cos - of_cos * sin]


class Rank(edu.Op):
    """How many elements are smaller, for each."""

    no_gradient = "a count has no slope"

    def forward(self, xp: Any, x: Any) -> Any:
        return xp.argsort(xp.argsort(x)).astype(np.int32)

    def infer(self, x: Any) -> Any:
        return x._replace(dtype=dtypes.int32)


softsign, hypot, running_sum, sin_cos, rank = Softsign(), Hypot(), RunningSum(), SinCos(), Rank()


def test_an_elementwise_operation_promotes_broadcasts_and_differentiates(device: str) -> None:
    x, y = edu.tensor([[3.0], [6.0]]), edu.tensor([4, 8])
    assert_allclose(hypot(x, y).numpy(), np.hypot([[3], [6]], [4, 8]), rtol=1e-6)
    assert hypot(y, 3).dtype == "float32"
    of_x, of_y = edu.grad(lambda x, y: hypot(x, y).sum(), (0, 1))(x[:1], edu.tensor([4.0, 0.0]))
    assert_allclose(of_x.numpy(), [[0.6 + 1.0]], rtol=1e-6)
    assert_allclose(of_y.numpy(), [0.8, 0.0], rtol=1e-6)


def test_an_operation_with_a_forward_of_its_own(device: str) -> None:
    x = edu.tensor(np.array([-3.0, 1.0]))
    assert_allclose(softsign(x).numpy(), [-0.75, 0.5])
    assert_allclose(edu.grad(lambda x: softsign(x).sum())(x).numpy(), [1 / 16, 1 / 4])
    second = edu.grad(lambda x: edu.grad(softsign)(x))
    assert second(edu.tensor(np.array(1.0))).item() == pytest.approx(-2 / 8)


def test_an_operation_with_parameters_and_a_vjp(device: str) -> None:
    x = edu.tensor(np.arange(6.0).reshape(2, 3))
    assert running_sum(x, axis=1).tolist() == [[0, 1, 3], [3, 7, 12]]
    gradient = edu.grad(lambda x: (running_sum(x, axis=1) * [1.0, 10.0, 100.0]).sum())(x)
    assert gradient.tolist() == [[111, 110, 100]] * 2
    hessian = edu.grad(lambda x: edu.grad(lambda x: (running_sum(x, axis=0) ** 3).sum())(x).sum())
    # rows a and a + b: first derivatives 3a^2 + 3(a+b)^2 and 3(a+b)^2, summed and differentiated
    assert hessian(edu.tensor([[1.0], [2.0]])).tolist() == [[6 + 36], [36]]


def test_a_vjp_gives_one_cotangent_for_each_argument(device: str) -> None:
    class Product(edu.Op):
        """x y, with the gradient of x forgotten."""

        def forward(self, xp: Any, x: Any, y: Any) -> Any:
            return x * y

        def infer(self, x: Any, y: Any) -> Any:
            return x

        def vjp(self, needed: Any, cotangent: Any, out: Any, inputs: Any, params: Any) -> Any:
            return [cotangent * inputs[0]]

    for product in (Product(), type("Fast", (Product,), {"on_arrays": True, "__doc__": "It."})()):
        with pytest.raises(errors.GradientError, match="its vjp gave 1 cotangents for 2 arg"):
            edu.grad(product, (0, 1))(edu.tensor(2.0), edu.tensor(3.0))


def test_an_operation_with_several_outputs(device: str) -> None:
    x = edu.tensor(np.array([0.3, 0.7]))
    sin, cos = sin_cos(x)
    assert_allclose(sin.numpy(), np.sin([0.3, 0.7]), rtol=1e-12)
    assert_allclose(cos.numpy(), np.cos([0.3, 0.7]), rtol=1e-12)

    def both(x: edu.Tensor) -> edu.Tensor:
        s, c = sin_cos(x)
        return (s * 2.0 + c * 3.0).sum()

    assert_allclose(edu.grad(both)(x).numpy(), 2 * np.cos([0.3, 0.7]) - 3 * np.sin([0.3, 0.7]))
    for which, expected in ((0, np.cos), (1, lambda x: -np.sin(x))):
        only = edu.grad(lambda x: sin_cos(x)[which].sum())(x)  # noqa: B023
        assert_allclose(only.numpy(), expected([0.3, 0.7]))
    second = edu.grad(lambda x: edu.grad(both)(x).sum())(x)
    assert_allclose(second.numpy(), -2 * np.sin([0.3, 0.7]) - 3 * np.cos([0.3, 0.7]))


def test_several_outputs_reach_backward_and_tapes_alike() -> None:
    x = edu.tensor(0.3, "float64", requires_grad=True)
    with edu.GradientTape() as tape:
        s, c = sin_cos(x)
        y = s * s + c * c * 2.0
    expected = -np.sin(0.6)
    assert tape.gradient(y, x).item() == pytest.approx(expected)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(expected)


def test_an_operation_without_gradient_says_so_by_being_a_constant(device: str) -> None:
    x = edu.tensor([3.0, 1.0, 2.0], requires_grad=True)
    assert rank(x).tolist() == [2, 0, 1]
    assert not rank(x).requires_grad


def test_a_users_operation_prints_on_the_tape_and_in_errors() -> None:
    v = edu.Variable([[1.0, 2.0]])
    with edu.GradientTape() as tape:
        running_sum(v, axis=1)
    assert "running_sum(a float32(1, 2), axis=1)" in repr(tape)
    assert (str(running_sum), repr(running_sum)) == ("running_sum", "<operation running_sum>")
    with pytest.raises(errors.ArgumentError, match="running_sum: no axis 5"):
        running_sum(v, axis=5)
    with pytest.raises(errors.ShapeError, match=r"hypot.*\(3,\) and \(2,\)"):
        hypot(edu.ones(3), edu.ones(2))


def test_an_operation_takes_variables_arrays_numbers_and_lists() -> None:
    assert softsign(edu.Variable(1.0)).item() == 0.5
    assert softsign(np.array([1.0])).dtype == "float64"
    assert softsign(1).item() == 0.5
    assert hypot([3.0], 4).tolist() == [5]
    assert running_sum([1, 2, 3], axis=0).tolist() == [1, 3, 6]


def test_a_rule_is_called_only_for_arguments_that_need_a_gradient() -> None:
    called = []

    class Product(edu.Elementwise):
        """x * y, counting."""

        arity = 2
        ufunc = "multiply"
        gradients = (
            lambda g, out, x, y: called.append("x") or g * y,
            lambda g, out, x, y: called.append("y") or g * x,
        )

    product, data = Product(), edu.ones(3)
    edu.grad(lambda w: product(data, w).sum())(edu.ones(3))
    assert called == ["y"]


def test_every_gradient_gets_the_shape_and_dtype_of_its_argument() -> None:
    x, y = edu.tensor(np.ones((2, 1), "float16")), edu.tensor(np.ones(3))
    of_x, of_y = edu.grad(lambda x, y: hypot(x, y).sum(), (0, 1))(x, y)
    assert [(g.shape, g.dtype.name) for g in (of_x, of_y)] == [
        ((2, 1), "float16"),
        ((3,), "float64"),
    ]


# Definitions that lack something


def forward(self: Any, xp: Any, x: Any) -> Any:
    return x


def infer(self: Any, x: Any) -> Any:
    return x


COMPLETE: dict[str, Any] = {
    "__doc__": "The same.",
    "forward": forward,
    "infer": infer,
    "gradients": (lambda g, out, x: g,),
}


def of_one(rule: Any, base: Any = edu.op.Unary, **more: Any) -> Any:
    """A class of operations that give what they get, with this gradient."""
    return type(
        "Same", (base,), {"__doc__": "x.", "ufunc": "positive", "gradients": (rule,), **more}
    )


def test_a_rule_gets_the_result_unless_it_names_it_an_underscore() -> None:
    seen: list[Any] = []

    def noted(g: Any, out: Any, x: Any) -> Any:
        seen.append(out)
        return g

    def not_noted(g: Any, _: Any, x: Any) -> Any:
        seen.append(_)
        return g

    for rule in (noted, not_noted):
        assert edu.grad(of_one(rule)())(2.0).item() == 1.0
    assert (seen[0].item(), seen[1]) == (2.0, None)


def test_a_rule_that_takes_arrays_gets_them_where_nobody_records_or_looks_on() -> None:
    seen: list[type] = []

    def noted(g: Any, out: Any, x: Any) -> Any:
        seen.extend([type(g), type(out), type(x)])
        return g * x

    same = of_one(noted, on_arrays=True)()
    x = edu.tensor([3.0, 4.0])
    slope = edu.grad(lambda x: (same(x) * x).sum())
    assert slope(x).tolist() == [12.0, 20.0]  # same(x) + x * x
    assert set(seen) == {np.ndarray}
    seen.clear()
    assert edu.grad(lambda x: slope(x).sum())(x).tolist() == [9.0, 12.0]  # x + 2 * x
    assert edu.Tensor in seen
    seen.clear()
    edu.config.check_finite = True
    try:
        assert slope(x).tolist() == [12.0, 20.0]
    finally:
        edu.config.check_finite = False
    assert set(seen) == {edu.Tensor}
    seen.clear()
    assert edu.vmap(slope)(x[:, None]).tolist() == [[12.0], [20.0]]
    assert set(seen) == {edu.Tensor}


def test_an_expression_of_the_arguments_alone_takes_arrays() -> None:
    factor = 2.0

    def stated(g: Any, _: Any, x: Any) -> Any:
        g *= x  # which would change an array
        return g

    arithmetic = of_one(lambda g, out, x: -g * out / x)
    assert arithmetic.on_arrays
    assert not of_one(stated).on_arrays
    assert not of_one(lambda g, _, x: g * edu.exp(x)).on_arrays
    assert not of_one(lambda g, _, x: g * factor).on_arrays
    assert not of_one(stated, arithmetic).on_arrays  # which has a gradient of its own
    y = edu.tensor([1.0, 2.0], requires_grad=True)
    (of_one(stated)()(y) + y).sum().backward()
    assert y.grad is not None
    assert y.grad.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"__doc__": None}, "Same: no docstring"),
        ({"forward": None}, "Same: no forward"),
        ({"infer": None}, "Same: no infer"),
        ({"gradients": None}, "Same: no gradients.*vjp.*no_gradient"),
        ({"no_gradient": "there is none"}, "Same: several of gradients, vjp and no_gradient"),
        ({"vjp": lambda self, *args: []}, "Same: several of gradients, vjp and no_gradient"),
        ({"gradients": ()}, "Same: 0 gradients for 1 arguments"),
        ({"gradients": (None, None)}, "Same: 2 gradients for 1 arguments"),
    ],
)
def test_an_incomplete_definition_is_refused_where_it_stands(
    change: dict[str, Any], words: str
) -> None:
    body = {name: value for name, value in (COMPLETE | change).items() if value is not None}
    with pytest.raises(errors.DefinitionError, match=words) as caught:
        type("Same", (edu.Op,), body)
    assert isinstance(caught.value, TypeError)
    assert type("Same", (edu.Op,), COMPLETE)()(edu.ones(2)).tolist() == [1, 1]


def test_an_elementwise_definition_without_a_way_to_compute_is_refused() -> None:
    with pytest.raises(errors.DefinitionError, match=r"Nothing: no forward.*ufunc"):
        type("Nothing", (edu.Elementwise,), {"__doc__": "Nothing.", "no_gradient": "none"})


def test_a_wrong_number_of_arguments_is_an_error_of_ours() -> None:
    with pytest.raises(TypeError):
        hypot(edu.ones(2))
    with pytest.raises(TypeError):
        edu.add(edu.ones(2))  # type: ignore[call-arg]


# Tensors of a class of their own


class Wide(edu.Tensor):
    """A Tensor that goes to float64 whenever it meets another dtype, or a number."""

    __slots__ = ()

    promote = staticmethod(lambda x, y: dtypes.float64)
    promote_number = staticmethod(lambda dtype, number: dtypes.float64)


def wide(data: Any) -> Wide:
    x = edu.tensor(data)
    made = tensors.wrap(Wide, x._data, x._device, None)
    assert isinstance(made, Wide)
    return made


RESULTS: list[Callable[[Any], Any]] = [
    lambda x: x + x, lambda x: edu.ones(2) * x, lambda x: x - np.ones(2), lambda x: np.ones(2) * x,
    lambda x: 2.0 * x, lambda x: edu.Variable(1.0) * x, lambda x: -x, lambda x: x > 1,
    lambda x: ops.exp(x), lambda x: x.sum(), lambda x: x.mean(), lambda x: x.std(), lambda x: x[0],
    lambda x: x[x > 1], lambda x: x.at[0].set(5.0), lambda x: x.T, lambda x: x.reshape(1, 2),
    lambda x: x @ x, lambda x: ops.softmax(x), lambda x: ops.relu(x), lambda x: x.astype("int32"),
    lambda x: ops.concat([edu.ones(2), x]), lambda x: ops.where(x > 1, x, 0.0),
    lambda x: x.to("xla"), lambda x: edu.stop_gradient(x), lambda x: sin_cos(x)[1],
    lambda x: ops.zeros_like(x),
    lambda x: edu.grad(lambda x: (x * x).sum())(x), lambda x: edu.grad(lambda x: x.sum())(x),
]  # fmt: skip


@pytest.mark.parametrize("of", RESULTS)
def test_what_is_computed_from_a_subclass_is_of_that_subclass(of: Callable[[Any], Any]) -> None:
    assert type(of(wide([1.0, 2.0]))) is Wide
    assert type(of(edu.tensor([1.0, 2.0]))) is edu.Tensor


def test_a_subclass_promotes_by_rules_of_its_own() -> None:
    x = wide([1.0, 2.0])
    assert (x + x).dtype == "float32"
    assert (x + edu.ones(2, dtype="int32")).dtype == "float64"
    assert (edu.ones(2, dtype="int32") + x).dtype == "float64"
    assert (x + 1).dtype == "float64"
    assert (edu.ones(2) + 1).dtype == "float32"


def test_a_subclass_prints_pickles_and_watches_like_a_tensor() -> None:
    import pickle

    x = wide([1.0, 2.0])
    assert type(pickle.loads(pickle.dumps(x))) is Wide
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = (x * x).sum()
    assert tape.gradient(y, x).tolist() == [2, 4]


def test_a_name_that_another_operation_has_means_nothing() -> None:
    add, half = Add(), edu.ones(2, dtype="float16")
    for x, y, own, times_half in [(1.5, 0.25, "float32", "float32"), (3, 4, "int32", "float16")]:
        for function in (add, edu.jit(add)):
            found = function(x, y)
            assert (found.dtype, found.item()) == (own, x + 2 * y)
        product = edu.jit(lambda x, y: add(x, y) * half)(x, y)
        assert (product.dtype, product.tolist()) == (times_half, [x + 2 * y] * 2)
