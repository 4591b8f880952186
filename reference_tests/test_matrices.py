"""Linear algebra where the generated tests do not go: matrices that are singular, not definite, of
equal eigenvalues, empty; larger ones; what device xla gives where device numpy raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.errors import GradientError, LinAlgError, ShapeError
from tinygrad_edu.ops import linalg

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SINGULAR = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
RANK_ONE = np.outer([1.0, 2.0, -1.0], [1.0, 0.5, 2.0])
INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])

WITHOUT_ANSWER: dict[str, Callable[[edu.Tensor], Any]] = {
    "inv": lambda zeros: ops.inv(zeros),
    "solve": lambda zeros: ops.solve(zeros, ops.ones_like(zeros)),
    "solve_triangular": lambda zeros: ops.solve_triangular(zeros, ops.ones_like(zeros)),
    "cholesky": lambda zeros: ops.cholesky(zeros - ops.ones_like(zeros)),
}


@pytest.mark.parametrize("name", WITHOUT_ANSWER)
def test_what_has_no_answer_raises_on_numpy_and_is_not_finite_on_xla(name: str) -> None:
    zeros = edu.zeros((2, 2))
    with pytest.raises(LinAlgError, match=rf"{name}: .*\(2, 2\)"):
        WITHOUT_ANSWER[name](zeros)
    with pytest.raises(np.linalg.LinAlgError):
        WITHOUT_ANSWER[name](zeros)
    found = WITHOUT_ANSWER[name](zeros.to("xla")).numpy()
    assert not np.isfinite(found).all()


def test_nan_does_not_converge() -> None:
    with pytest.raises(LinAlgError, match="svd: it did not converge"):
        ops.svd(np.full((2, 2), np.nan))


@pytest.mark.parametrize("device", ["numpy", "xla"])
@pytest.mark.parametrize(
    "x", [SINGULAR, RANK_ONE, np.zeros((3, 3)), np.eye(3), np.zeros((1, 1)), 2 * np.eye(2)], ids=str
)
def test_the_slopes_of_det_are_those_of_its_polynomial(x: np.ndarray, device: str) -> None:
    # By Leibniz's formula, which is exact, to second order.
    import itertools

    def leibniz(x: edu.Tensor) -> edu.Tensor:
        total = edu.zeros((), dtype=x.dtype, device=device)
        for order in itertools.permutations(range(x.shape[0])):
            sign = float(np.linalg.det(np.eye(x.shape[0])[list(order)]).round())
            product = edu.full((), sign, dtype=x.dtype, device=device)
            for i, j in enumerate(order):
                product = product * x[i, j]
            total = total + product
        return total

    weights = edu.tensor(np.linspace(0.5, 1.5, x.size).reshape(x.shape), device=device)
    given = edu.tensor(x, device=device)
    for function in (ops.det, leibniz):
        first = edu.grad(function)
        second = edu.grad(lambda y, first=first: (first(y) * weights).sum())
        found = [f(given).numpy() for f in (function, first, second)]
        if function is ops.det:
            ours = found
    for a, b in zip(ours, found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_equal_eigenvalues_have_the_gradient_that_does_not_depend_on_their_vectors() -> None:
    x = edu.tensor(np.diag([2.0, 2.0, 5.0]))
    np.testing.assert_allclose(
        edu.grad(lambda x: (ops.eigvalsh(x) ** 2).sum())(x).numpy(), 2 * x.numpy(), atol=1e-12
    )
    slope = edu.grad(lambda x: ops.matrix_norm(x, ord="nuc"))(x).numpy()
    np.testing.assert_allclose(slope, np.eye(3), atol=1e-12)

    def space(x: edu.Tensor) -> edu.Tensor:  # the projection on the first two vectors
        vectors = ops.eigh(x).eigenvectors[:, :2]
        return ((vectors @ vectors.mT) * np.arange(9.0).reshape(3, 3)).sum()

    # P moves by (P dA (1 - P) + (1 - P) dA P) / (2 - 5).
    p, w = np.diag([1.0, 1.0, 0.0]), np.arange(9.0).reshape(3, 3)
    w = (w + w.T) / 2
    q = np.eye(3) - p
    np.testing.assert_allclose(edu.grad(space)(x).numpy(), (p @ w @ q + q @ w @ p) / -3, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
@pytest.mark.parametrize("order", [2, 1, 3, 0.5, np.inf, -np.inf, 0, -1])
def test_no_norm_has_a_nan_for_a_gradient_at_zero(order: float, shape: Any) -> None:
    x = edu.zeros(shape)
    first = edu.grad(lambda x: ops.vector_norm(x, ord=order))
    assert first(x).tolist() == np.zeros(shape).tolist()
    second = edu.grad(lambda x: first(x).sum())(x).numpy()
    assert not np.isnan(second).any()


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_no_matrix_norm_has_a_nan_for_a_gradient_at_zero(order: Any) -> None:
    slope = edu.grad(lambda x: ops.matrix_norm(x, ord=order))(edu.zeros((2, 3))).numpy()
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("device", ["numpy", "xla"])
def test_empty_matrices(device: str) -> None:
    with edu.device(device):
        none = edu.zeros((0, 0))
        assert ops.det(none).item() == 1
        for op in (ops.inv, ops.cholesky, ops.adjugate):
            assert op(none).shape == (0, 0)
            assert op(edu.zeros((0, 2, 2))).shape == (0, 2, 2)
        assert ops.solve(none, edu.zeros((0, 3))).shape == (0, 3)
        assert [part.shape for part in ops.qr(edu.zeros((3, 0)))] == [(3, 0), (0, 0)]
        assert ops.norm(edu.zeros((0,))).item() == 0


@pytest.mark.parametrize("order", ["fro", "nuc", 1, 2, np.inf])
@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 3), (2, 0, 3)])
def test_the_norm_of_matrices_without_elements_is_0(shape: Any, order: Any) -> None:
    x = np.zeros(shape)
    found = ops.matrix_norm(x, ord=order, keepdims=True)
    expected = np.linalg.matrix_norm(x, ord=order, keepdims=True)
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("x", [np.zeros((2, 0)), np.array([[np.inf, -np.inf], [1.0, np.inf]])])
def test_a_norm_of_a_negative_order_is_infinite_where_nothing_is_finite(x: np.ndarray) -> None:
    expected = np.linalg.vector_norm(x, ord=-1, axis=-1)
    np.testing.assert_array_equal(ops.vector_norm(x, ord=-1, axis=-1).numpy(), expected)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_reads_the_triangle_that_its_result_fills(upper: bool) -> None:
    x = np.array([[4.0, 2.0, 0.0], [2.0, 2.0, 1.0], [0.0, 1.0, 5.0]])
    half = np.triu(x) if upper else np.tril(x)
    found = ops.cholesky(half, upper=upper).numpy()
    np.testing.assert_allclose(found.T @ found if upper else found @ found.T, x, atol=1e-14)


@pytest.mark.parametrize("x", [1e30 * np.eye(2), 1e-30 * np.eye(2)[::-1]], ids=str)
def test_the_logarithm_of_a_determinant_does_not_overflow_on_xla(x: np.ndarray) -> None:
    with edu.device("xla"):
        found = ops.slogdet(edu.tensor([x, np.eye(2)], "float32"))
    sign, logarithm = np.linalg.slogdet(x)
    assert found.sign.tolist() == [sign, 1]
    np.testing.assert_allclose(found.logabsdet.numpy(), [logarithm, 0], rtol=1e-6)


@pytest.mark.parametrize("device", ["numpy", "xla"])
@pytest.mark.parametrize("compiled", [False, True])
def test_each_matrix_may_have_its_own_rtol(device: str, compiled: bool) -> None:
    x, rtol = np.array([np.diag([1.0, 0.1, 0.01]), np.diag([2.0, 0.1, 0.01])]), [0.05, 0.5]
    prepared = edu.jit if compiled else lambda function: function
    with edu.device(device):
        ranks = prepared(lambda x, rtol: ops.matrix_rank(x, rtol=rtol))(x, np.array(rtol))
        inverse = prepared(lambda x: ops.pinv(x, rtol=rtol))(x)
        slope = prepared(edu.grad(lambda x: ops.pinv(x, rtol=rtol).sum()))(x)
    y = torch.tensor(x, requires_grad=True)
    expected = torch.linalg.pinv(y, rtol=torch.tensor(rtol, dtype=y.dtype))
    expected.sum().backward()
    assert ranks.tolist() == [2, 1]
    np.testing.assert_allclose(inverse.numpy(), expected.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(slope.numpy(), y.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["matrix_rank", "matrix_norm", "svdvals", "diagonal", "trace"])
def test_what_is_no_matrix_is_refused_in_the_name_of_what_was_called(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"^{name}: shape \(3,\) has no two axes to be a matrix"):
        getattr(linalg, name)(np.ones(3))


def test_what_is_not_unique_has_no_gradient() -> None:
    x = edu.tensor(np.random.default_rng(0).normal(size=(3, 2)))
    with pytest.raises(GradientError, match=r"svd: no gradient .* full_matrices=False"):
        edu.grad(lambda x: ops.svd(x).U.sum())(x)
    with pytest.raises(GradientError, match=r"qr: no gradient .* mode 'reduced'"):
        edu.grad(lambda x: ops.qr(x, mode="complete").Q.sum())(x)
    assert ops.svd(x).U.shape == (3, 3)
    assert ops.qr(x, mode="complete").R.shape == (3, 2)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("size", [63, 64, 65, 200])
def test_large_triangles_go_block_by_block(size: int, lower: bool) -> None:
    generator = np.random.default_rng(size)
    a = generator.normal(size=(size, size)) / size + 2 * np.eye(size)
    b = generator.normal(size=(size, 3))
    expected = torch.linalg.solve_triangular(
        torch.from_numpy(np.tril(a) if lower else np.triu(a)), torch.from_numpy(b), upper=not lower
    )
    found = ops.solve_triangular(a, b, lower=lower).numpy()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-13)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_float32(dtype: str) -> None:
    x = edu.tensor([[2.0, 1.0], [1.0, 3.0]], dtype)
    wide = x.astype("float32")
    for op in (ops.det, ops.inv, ops.cholesky, ops.norm, ops.pinv, ops.eigvalsh):
        assert op(x).dtype == dtype
        assert op(x).tolist() == op(wide).astype(dtype).tolist()
        assert edu.grad(lambda x, op=op: op(x).sum())(x).dtype == dtype
    long = edu.ones((3000,), dtype=dtype)
    assert ops.einsum("i,i", long, long).item() == edu.tensor(3000.0, dtype).item()


def test_integers_become_float32() -> None:
    assert ops.det(np.array([[1, 2], [3, 4]])).dtype == "float32"
    assert ops.solve(np.eye(2, dtype="int32"), np.array([1, 2])).dtype == "float32"
    assert ops.norm(np.array([3, 4])).item() == 5


def test_the_linalg_module_is_the_array_api_extension() -> None:
    names = (
        "cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank "
        "matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot "
        "vector_norm"
    )
    assert all(hasattr(ops.linalg, name) for name in names.split())
    x = np.arange(24.0).reshape(2, 3, 4)
    assert ops.linalg.diagonal(x).tolist() == np.linalg.diagonal(x).tolist()
    assert ops.linalg.trace(x, offset=1).tolist() == np.linalg.trace(x, offset=1).tolist()


def test_einsum_is_numpys() -> None:
    generator = np.random.default_rng(0)
    letters = "abcde"
    for _ in range(300):
        sizes = dict(zip(letters, generator.integers(1, 4, 5), strict=True))
        dots = "..." if generator.random() < 0.3 else ""
        count = int(generator.integers(1, 5))
        terms = [
            "".join(generator.choice(list(letters), generator.integers(0, 4))) for _ in range(count)
        ]
        shapes = []
        for term in terms:
            front = [(), (2,), (1,), (3, 2)][generator.integers(0, 4)] if dots else ()
            narrow = [term.count(x) == 1 and generator.random() < 0.2 for x in term]
            shapes.append(
                (*front, *[1 if n else int(sizes[x]) for x, n in zip(term, narrow, strict=True)])
            )
        expression = ",".join(dots + term for term in terms)
        if generator.random() < 0.8:
            used = sorted(set("".join(terms)))
            kept = generator.permutation(used)[: generator.integers(0, len(used) + 1)]
            expression += "->" + dots + "".join(kept)
        arrays = [generator.normal(size=shape) for shape in shapes]
        try:
            expected = np.einsum(expression, *arrays)
        except ValueError:
            with pytest.raises(edu.Error, match="einsum"):
                ops.einsum(expression, *arrays)
            continue
        found = ops.einsum(expression, *arrays).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=f"{expression} {shapes}")


def test_einsum_takes_numpys_other_form() -> None:
    x, y = np.ones((2, 3)), np.ones((3, 4))
    assert ops.einsum(x, [0, 1], y, [1, 2], [2, 0]).shape == (4, 2)
    assert ops.einsum(x, [1, 0], y, [0, 2]).shape == (2, 4)
    assert ops.einsum(x, [..., 0]).shape == (2, 3)


def test_einsum_chooses_the_cheap_order() -> None:
    # (1000, 2)(2, 1000)(1000, 2): left to right it would be 250 times the work.
    from tinygrad_edu.ops.contraction import _order

    sizes: dict[Any, int] = {"i": 1000, "j": 2, "k": 1000, "l": 2}
    assert _order([("i", "j"), ("j", "k"), ("k", "l")], ("i", "l"), sizes)[0] == (1, 2)


@pytest.mark.parametrize(
    "shapes",
    [((64, 8), (5, 8, 1)), ((4, 1, 2, 3), (3, 3, 2)), ((2, 3), (5, 3, 1)), ((3,), (4, 3, 2))],
)
def test_gradients_of_broadcast_matrices_are_summed_inside_a_product(shapes: Any) -> None:
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=shape) for shape in shapes]
    ours = edu.grad(lambda x, y: (ops.matmul(x, y) ** 2).sum(), (0, 1))(*arrays)
    inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    (torch.matmul(*inputs) ** 2).sum().backward()
    for found, x in zip(ours, inputs, strict=True):
        np.testing.assert_allclose(found.numpy(), x.grad.numpy(), atol=1e-12)
