"""jit: state that compiled functions read and assign, and who else holds it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, ops

from .compiled import as_eager, same

# State


def test_variables_are_read_as_they_are_at_the_call(device: str) -> None:
    v = edu.Variable([1.0, 2.0])
    jitted = edu.jit(lambda x: x * v)
    x = edu.tensor(10.0)
    assert jitted(x).tolist() == [10, 20]
    v.assign([3.0, 4.0])
    assert jitted(x).tolist() == [30, 40]
    assert jitted.cache_info().misses == 1


def test_variables_are_assigned(device: str) -> None:
    def steps(v: edu.Variable, count: edu.Variable, table: edu.Variable) -> Callable[..., Any]:
        def step(x: Any) -> Any:
            before = v.value
            v.assign(v * 2.0)
            v.assign_add(x)
            v.assign_sub(0.5)
            count.assign_add(1)
            table[1].assign(v)
            table[0, 1].assign_add(x)
            table[:, 0].assign_sub([1.0, 2.0])
            return before, v.value, v, count.value, table[1]

        return step

    def state() -> list[edu.Variable]:
        return [
            edu.Variable([1.0, 2.0]),
            edu.Variable(0, dtype="int32"),
            edu.Variable(np.zeros((2, 2), "float32")),
        ]

    these, those = state(), state()
    jitted, plain = edu.jit(steps(*these)), steps(*those)
    for i in range(4):
        found, wanted = jitted(edu.tensor(float(i))), plain(edu.tensor(float(i)))
        assert found[2] is these[0]
        same([found[:2], found[3], found[4].value], [wanted[:2], wanted[3], wanted[4].value])
        same([v.value for v in these], [v.value for v in those])
    assert jitted.cache_info().misses == 1


def test_variables_as_arguments_and_in_structures() -> None:
    @edu.jit
    def step(model: Any, x: Any) -> Any:
        model["v"].assign_add(x)
        return model

    v, w = edu.Variable([1.0]), edu.Variable([5.0])
    x = edu.tensor([1.0])
    assert step({"v": v}, x)["v"] is v
    assert step({"v": w}, x)["v"] is w
    assert step({"v": v}, x)["v"] is v
    assert (v.item(), w.item()) == (3, 6)
    assert step.cache_info().misses == 2


def test_a_variable_made_at_the_first_call_stays(device: str) -> None:
    class Dense:
        W: Any = None

        def __call__(self, x: Any) -> Any:
            if self.W is None:
                self.W = edu.Variable(edu.ones((x.shape[-1], 2)), name="W")
            self.W.assign_add(1.0)
            return x @ self.W

    layer, plain = Dense(), Dense()
    jitted = edu.jit(layer)
    x = edu.tensor([[1.0, 2.0]])
    for _ in range(3):
        same(jitted(x), plain(x))
        same(layer.W.value, plain.W.value)
    assert layer.W.numpy().tolist() == [[4, 4], [4, 4]]
    assert layer.W.name == "W"


def test_a_variable_may_be_made_on_the_device_of_what_is_traced() -> None:
    made: list[Any] = []

    @edu.jit
    def f(x: Any) -> Any:
        if not made:
            made.append(edu.Variable([1.0, 2.0], device=x.device))
        return made[0] * x

    x = edu.tensor([3.0, 4.0])
    assert f(x).tolist() == f(x).tolist() == [3.0, 8.0]


def test_tensors_are_made_of_what_is_traced() -> None:
    f = edu.jit(
        lambda x: (edu.tensor(x, "float64") + 1, edu.full((2,), x.sum()), edu.full(3, x[0]))
    )
    a, b, c = f(np.array([1.0, 2.0], "f4"))
    assert (a.dtype, a.tolist()) == (np.float64, [2.0, 3.0])
    assert (b.tolist(), c.tolist()) == ([3.0, 3.0], [1.0, 1.0, 1.0])
    rows = edu.vmap(lambda x: edu.full((2,), x) + edu.tensor(x))(np.array([1.0, 2.0]))
    assert rows.tolist() == [[2.0, 2.0], [4.0, 4.0]]


def test_a_variable_made_from_what_is_traced_is_refused() -> None:
    made = []
    with pytest.raises(errors.TracingError, match=r"test_jit_state\.py"):
        edu.jit(lambda x: made.append(edu.Variable(x)))(edu.ones(2))


def test_variables_in_no_grad_and_not_trainable() -> None:
    v = edu.Variable([1.0, 2.0], trainable=False)

    @edu.jit
    def step(x: Any) -> Any:
        with edu.no_grad():
            v.assign_add(x)
        return v * 1.0

    same(step(edu.ones(2)), edu.tensor([2.0, 3.0]))
    with edu.no_grad():
        same(step(edu.ones(2)), edu.tensor([3.0, 4.0]))


def test_a_function_of_nothing_but_state_is_for_the_device_of_that() -> None:
    v, w = edu.Variable([1.0], device="xla"), edu.Variable([1.0])

    @edu.jit
    def step() -> Any:
        v.assign_add(1.0)
        return v * 1.0

    for wanted in (2.0, 3.0):
        y = step()
        assert (y.item(), y.device, v.device) == (wanted, "xla", "xla")
    with pytest.raises(errors.DeviceError, match=r"test_jit_state\.py.*'xla'.*'numpy'.*x\.to"):
        edu.jit(lambda: (w * 1.0, v * 1.0))()
    with pytest.raises(errors.DeviceError, match=r"test_jit_state\.py.*'numpy'.*'xla'.*x\.to"):
        edu.jit(lambda x: w.assign_add(x))(edu.ones(1, device="xla"))
    assert w.item() == 1


def test_only_what_a_call_assigns_is_written() -> None:
    v, w = edu.Variable([1.0]), edu.Variable([2.0])

    @edu.jit
    def swap() -> None:
        before = v.value
        v.assign(w)
        w.assign(before)

    for _ in range(3):
        swap()
    assert (v.item(), w.item()) == (2, 1)


def test_two_variables_may_get_the_same_value() -> None:
    v, w = edu.Variable([1.0]), edu.Variable([2.0])

    @edu.jit
    def step(x: Any) -> Any:
        y = x * 2.0
        v.assign(y)
        w.assign(y)
        return y

    @edu.jit
    def add() -> None:
        v.assign_add(1.0)

    y = step(edu.ones(1))
    add()
    add()
    assert (v.item(), w.item(), y.item()) == (4, 2, 2)


def test_an_argument_may_be_assigned() -> None:
    v = edu.Variable([1.0])

    @edu.jit
    def keep(x: Any) -> None:
        v.assign(x)

    @edu.jit
    def add() -> None:
        v.assign_add(1.0)

    x, array = edu.tensor([5.0]), np.array([7.0], "float32")
    keep(x)
    add()
    add()
    assert (v.item(), x.item()) == (7, 5)
    keep(array)
    add()
    add()
    assert (v.item(), array.item()) == (9, 7)
    array[0] = 100
    assert v.item() == 9


def test_gradients_are_added_up_by_backward(device: str) -> None:
    def step(W: Any) -> Callable[..., Any]:
        def function(x: Any, clear: bool = False) -> Any:
            if clear:
                W.grad = None
            loss = ((x @ W) ** 2).sum()
            loss.backward()
            return loss, W.grad

        return function

    these = edu.Variable([[1.0], [2.0]], requires_grad=True)
    those = edu.Variable([[1.0], [2.0]], requires_grad=True)
    jitted, plain = edu.jit(step(these)), step(those)
    x = edu.tensor([[1.0, 3.0]])
    for clear in (False, False, True, False, True):
        same(jitted(x, clear), plain(x, clear))
        same(these.grad, those.grad)
    assert these.grad is not None
    these.grad = None
    same(jitted(x)[1], edu.tensor([[14.0], [42.0]]))


def test_a_grad_that_is_cleared_is_none() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)

    @edu.jit
    def clear() -> None:
        x.grad = None

    (x * x).sum().backward()
    clear()
    assert x.grad is None
    clear()
    assert x.grad is None


def test_backward_goes_to_tensors_that_require_gradients(device: str) -> None:
    W = edu.tensor([1.0, 2.0], requires_grad=True)

    @edu.jit
    def step(x: Any) -> None:
        (x * W).sum().backward()

    step(edu.tensor([3.0, 4.0]))
    step(edu.tensor([3.0, 4.0]))
    assert W.grad is not None
    assert W.grad.tolist() == [6, 8]


def test_random_numbers_are_those_of_the_eager_function(device: str) -> None:
    def draw(x: Any) -> Any:
        noise = edu.random.normal(shape=(3,))
        return x + noise, edu.random.uniform(shape=(2,)), edu.random.permutation(None, 5)

    jitted = edu.jit(draw)
    edu.random.seed(0)
    wanted = [draw(edu.ones(3)) for _ in range(3)]
    after = edu.random.state()
    edu.random.seed(0)
    for each in wanted:
        same(jitted(edu.ones(3)), each)
    assert edu.random.state() == after
    assert jitted.cache_info().misses == 1


def test_keys_are_arguments() -> None:
    jitted = edu.jit(lambda key: edu.random.uniform(key, (2,)))
    for seed in (1, 2):
        same(jitted(edu.random.key(seed)), edu.random.uniform(edu.random.key(seed), (2,)))
    assert jitted.cache_info().misses == 1


def test_a_seed_set_inside_is_the_seed_afterwards() -> None:
    @edu.jit
    def draw() -> Any:
        edu.random.seed(7)
        return edu.random.uniform(shape=(2,))

    first, second = draw(), draw()
    same(first, second)
    state = edu.random.state()
    edu.random.seed(7)
    same(first, edu.random.uniform(shape=(2,)))
    assert edu.random.state() == state


def test_a_key_that_leaves_is_a_tensor_or_an_error() -> None:
    key = edu.random.key(3)
    found = edu.jit(lambda key: edu.random.split(key))(key)
    wanted = edu.random.split(key)
    for a, b in zip(found, wanted, strict=True):
        same(edu.random.key_data(a), edu.random.key_data(b))


def test_dropout_draws_anew_at_each_call() -> None:
    jitted = edu.jit(lambda x: x * edu.random.bernoulli(p=0.5, shape=x.shape))
    x = edu.ones(64)
    assert jitted(x).tolist() != jitted(x).tolist()


# Where state and values are held elsewhere


@pytest.mark.parametrize(
    "keep",
    [
        lambda v: v.value,
        lambda v: v.numpy(),
        lambda v: np.asarray(v),
        lambda v: v * 1.0,
        lambda v: edu.reshape(v, (-1,)),
        lambda v: edu.transpose(v),
        lambda v: v[0],
        lambda v: v[0].value,
        lambda v: ops.identity(v),
        lambda v: v.detach(),
        lambda v: edu.squeeze(v),
        lambda v: edu.broadcast_to(v, (3, 2, 2)),
        lambda v: edu.astype(v, "float32"),
        lambda v: edu.tensor(v),
        lambda v: +v,
        lambda v: np.from_dlpack(v),
        lambda v: edu.Variable(v),
        lambda v: edu.jit(lambda: v.value)(),
        lambda v: edu.jit(lambda: v.T)(),
        lambda v: edu.jit(lambda: v[:1])(),
        lambda v: edu.jit(lambda: edu.flip(v))(),
        lambda v: edu.jit(lambda: edu.split(v, 2)[1])(),
        lambda v: edu.jit(lambda: edu.diagonal(v))(),
        lambda v: edu.jit(lambda: edu.unstack(v)[1])(),
        lambda v: _assigned(edu.flip(v)),
        lambda v: _assigned_inside(lambda: edu.flip(v)),
        lambda v: _assigned_inside(lambda: v.value),
        lambda v: edu.jit(lambda x: x)(v.value),
    ],
)
@pytest.mark.parametrize("warm", [0, 1, 2])
def test_what_was_taken_of_a_variable_never_changes(
    keep: Callable[[edu.Variable], Any], warm: int
) -> None:
    v = edu.Variable([[1.0, 2.0], [3.0, 4.0]])

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    for _ in range(warm):
        step()
    kept = keep(v)
    before = np.array(kept)
    wanted = v.numpy() + 3
    for _ in range(3):
        step()
    np.testing.assert_array_equal(np.array(kept), before)
    np.testing.assert_array_equal(v.numpy(), wanted)


def _assigned(value: Any) -> edu.Variable:
    return edu.Variable(np.zeros(value.shape, "float32")).assign(value)


def _assigned_inside(make: Callable[[], Any]) -> edu.Variable:
    other = edu.Variable(np.zeros(make().shape, "float32"))
    edu.jit(lambda: other.assign(make()))()
    return other


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:3],
        lambda x: x[1],
        lambda x: edu.flip(x),
        lambda x: edu.diagonal(x),
        lambda x: edu.split(x, 2)[1],
        lambda x: edu.unstack(x)[2],
        lambda x: x.T,
        lambda x: edu.reshape(x, (-1,)),
        lambda x: edu.expand_dims(x, 0),
        lambda x: x.detach(),
    ],
)
def test_a_part_of_a_temporary_value_outlives_it(view: Callable[[Any], Any]) -> None:
    """What is written to reused memory later must not be seen in it."""

    def f(x: Any) -> Any:
        part = view(edu.exp(x @ x))
        y = edu.sin(x @ x.T) @ x
        z = edu.cos(y @ y) @ y
        return part * part, z

    x = edu.tensor(np.linspace(-1, 1, 36).reshape(6, 6), "float32")
    as_eager(f, x)
    kept = edu.jit(lambda x: view(edu.exp(x)))
    first = kept(x)
    then = first.numpy().copy()
    kept(x * 2.0)
    np.testing.assert_array_equal(first.numpy(), then)


def test_a_value_on_a_tape_never_changes() -> None:
    v = edu.Variable([2.0])

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    step()
    with edu.GradientTape() as tape:
        y = (v * v * v).sum()
        step()
    step()
    same(tape.gradient(y, v), edu.tensor([27.0]))


def test_variables_do_not_share_memory_with_each_other_after_a_copy() -> None:
    v = edu.Variable([1.0])

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    step()
    w, x = copy.copy(v), copy.deepcopy(v)
    u = edu.Variable(v)
    step()
    assert [z.item() for z in (v, w, x, u)] == [3, 2, 2, 2]


def test_a_value_assigned_to_a_variable_never_changes() -> None:
    v = edu.Variable([1.0, 2.0])
    x = edu.tensor([3.0, 4.0])
    array = np.array([5.0, 6.0], "float32")

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    for given in (x, array, edu.reshape(x, (2,))):
        v.assign(given)
        step()
        step()
        np.testing.assert_array_equal(v.numpy(), np.asarray(given) + 2)
    assert x.tolist() == [3, 4]
    assert array.tolist() == [5, 6]


def test_results_kept_from_earlier_calls_never_change(device: str) -> None:
    v = edu.Variable([[1.0, 2.0], [3.0, 4.0]])

    @edu.jit
    def step(x: Any) -> Any:
        before = v.value
        y = edu.exp(x) + 1.0
        v.assign_add(y)
        return y, y.T, y[0], edu.reshape(y, (-1,)), (y * y).sum(), before, v.value, v.T, x, x.T

    kept = []
    for i in range(5):
        found = step(edu.ones((2, 2)) * float(i))
        kept.append((found, [f.numpy().copy() for f in found]))
    for found, then in kept:
        for f, t in zip(found, then, strict=True):
            np.testing.assert_array_equal(f.numpy(), t)


def test_results_of_one_call_do_not_share_memory_that_can_be_written() -> None:
    jitted = edu.jit(lambda x: (x, x, x.T, x + 1.0))
    for array in jitted(edu.ones((2, 2))):
        assert not array.numpy().flags.writeable


def test_the_same_array_may_be_passed_twice(device: str) -> None:
    def f(x: Any, y: Any) -> Any:
        return x * 2.0 + y, y - x

    x = edu.tensor([1.0, 2.0])
    as_eager(f, x, x)
    array = np.array([1.0, 2.0])
    same(edu.jit(f)(array, array), f(edu.tensor(array), edu.tensor(array)))
    v = edu.Variable([1.0, 2.0])

    @edu.jit
    def step(x: Any, y: Any) -> Any:
        v.assign_add(x)
        return v * y

    same(step(v.value, v.value), edu.tensor([2.0, 8.0]))
    same(step(v.value, v.value), edu.tensor([8.0, 32.0]))
    assert v.tolist() == [4, 8]


def test_a_variable_and_its_value_both_as_arguments() -> None:
    @edu.jit
    def step(v: Any, x: Any) -> Any:
        v.assign_add(1.0)
        v.assign_add(x)
        return x

    v = edu.Variable([1.0])
    kept = []
    for wanted in (3.0, 7.0, 15.0):
        kept.append(step(v, v.value))
        assert v.item() == wanted
    assert [x.item() for x in kept] == [1, 3, 7]
