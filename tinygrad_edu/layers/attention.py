"""Attention: means of values, weighed by how well queries and keys agree.

Names, arguments, weights and formulas are Keras's. A query that sees no key gets 0; but as in Keras
the mean of all values in a MultiHeadAttention of three axes without dropout, unless its scores are
asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes, initializers, ops, regularizers
from ..arguments import fraction, normalize_axes, whole
from ..conversion import as_tensor
from ..errors import ShapeError
from ..tensors import Tensor
from ..variable import Variable
from . import activations, arguments
from .base import InputSpec, Layer, Shape
from .noise import Dropout

__all__ = ["AdditiveAttention", "Attention", "MultiHeadAttention"]


class MultiHeadAttention(Layer):
    """Attention of several heads, each with kernels of its own for queries, keys and values.

    `layer(query, value, key=value)`, with query (batch, queries, features), value and key (batch,
    keys, features): (batch, queries, features of the query, or `output_shape`), and, with
    `return_attention_scores`, the weights (batch, heads, queries, keys). There may be more axes
    between the first and the last: `attention_axes` says which of them are attended along (all,
    unless given), the others are like the batch.

    Calls take boolean masks: `value_mask` and `key_mask` (batch, keys), `query_mask` (batch,
    queries), `attention_mask` (batch, queries, keys), which may lack the batch or have an axis of
    heads behind it; and `use_causal_mask`, with which a query sees no key after it. With
    `sliding_window` n it sees none that is n places away or more. `dropout` is that of the weights.
    With `use_gate` what heads find is multiplied by a sigmoid of another product with the query.
    `activity_regularizer` is for each of the products.

    Weights: kernel (features, heads, size) and bias (heads, size) of query, key, gate and value,
    with the size `key_dim`, or `value_dim` for the last two; kernel (heads, value_dim, features)
    and bias of attention_output.

    Raises ArgumentError for sizes that are no positive integers, and axes that cannot be attended
    along; ShapeError for inputs and masks of shapes that do not fit.

    Source: A. Vaswani et al., Attention is all you need, arXiv:1706.03762.

    >>> layer = MultiHeadAttention(num_heads=2, key_dim=4)
    >>> x = ops.ones((3, 5, 8))
    >>> layer(x, x, use_causal_mask=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        name = type(self).__name__
        self.num_heads = whole(name, "num_heads", num_heads, 1)
        self.key_dim = whole(name, "key_dim", key_dim, 1)
        self.value_dim = (
            self.key_dim if value_dim is None else whole(name, "value_dim", value_dim, 1)
        )
        self.use_bias = use_bias
        self.attention_axes = attention_axes
        if sliding_window is not None:
            sliding_window = whole(name, "sliding_window", sliding_window, 1)
        self.sliding_window = sliding_window
        self._output_shape = None
        if output_shape is not None:
            sizes = [output_shape] if isinstance(output_shape, int) else output_shape
            self._output_shape = tuple([whole(name, "output_shape", n, 1) for n in sizes])
        self._kernel = arguments.weight(name, "kernel", locals())
        self._bias = arguments.weight(name, "bias", locals())
        get = regularizers.get
        self._activity = arguments.found(name, "activity_regularizer", get, activity_regularizer)
        self.use_gate = use_gate
        rate = fraction(name, "dropout", dropout)
        self.dropout = Dropout(rate, seed=seed, dtype=self.dtype_policy)
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=3)

    def build(  # type: ignore[override]  # a shape for each argument
        self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None
    ) -> None:
        of_keys, of_values = (self.num_heads, self.key_dim), (self.num_heads, self.value_dim)
        self.query = self._projection(query_shape[-1:], of_keys)
        self.key = self._projection((key_shape or value_shape)[-1:], of_keys)
        if self.use_gate:
            self.gate = self._projection(query_shape[-1:], of_values, ops.sigmoid)
        self.value = self._projection(value_shape[-1:], of_values)
        after = self._output_shape or query_shape[-1:]
        self.attention_output = self._projection(of_values, after)

    def _projection(self, before: Shape, after: Shape, activation: Any = None) -> _Projection:
        bias = self._bias if self.use_bias else None
        made = _Projection(
            after,
            self._kernel,
            bias,
            activation,
            activity_regularizer=self._activity,
            dtype=self.dtype_policy,
        )
        made.build(before)
        return made

    def call(
        self,
        query: Tensor,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        value = as_tensor(value)
        key = value if key is None else as_tensor(key)
        along = self._along(query.shape, key.shape, value.shape)
        # Heads are an axis like a feature: (batch, others, queries, heads, size).
        queries = _Places(query.shape[:-1], along)
        keys = _Places(key.shape[:-1], along)
        q = queries.gathered(self.query(query))
        k = keys.gathered(self.key(key))
        v = keys.gathered(self.value(value))
        scores = ops.matmul(q * (1 / math.sqrt(self.key_dim)), ops.matrix_transpose(k))
        seen = self._seen(queries, keys, query_mask, value_mask, key_mask, attention_mask)
        if len(along) > 1 and (use_causal_mask or self.sliding_window):
            raise self._error(f"with several attention_axes, {along}, no key is near, or after")
        if self.sliding_window is not None:
            of_queries, of_keys = _numbered(scores)
            seen = _both(seen, ops.abs(of_queries - of_keys) < self.sliding_window)
        shown = _shown(scores, seen, use_causal_mask)
        weights = _weights(scores, shown)
        # Keras computes in one go what it can, and there no key is like every key.
        alike = query.ndim == 3 and not (self.dropout.rate or return_attention_scores)
        if not alike and seen is not None:
            weights = _cleared(weights, shown)
        found = queries.scattered(ops.matmul(self.dropout(weights, training=training), v))
        if self.use_gate:
            found = found * self.gate(query)
        found = self.attention_output(found)
        if not return_attention_scores:
            return found
        return found, ops.reshape(weights, (*weights.shape[:-2], *queries.sizes, *keys.sizes))

    def _along(self, query: Shape, key: Shape, value: Shape) -> tuple[int, ...]:
        """The axes attended along; refuses shapes that do not fit each other."""
        rank = len(query)
        if key[:-1] != value[:-1]:
            raise self._error(
                f"key {key} and value {value} differ in more than features", ShapeError
            )
        given = range(1, rank - 1) if self.attention_axes is None else self.attention_axes
        axes = given if isinstance(given, int) else tuple(given)
        along = normalize_axes("MultiHeadAttention: attention_axes", axes, rank)
        if not along or {0, rank - 1} & {*along}:
            raise self._error(
                "attention_axes are among those between the batch and the features of a query of "
                f"shape {query}, not {self.attention_axes}"
            )
        others = [i for i in range(rank - 1) if i not in along]
        if len(value) != rank or [query[i] for i in others] != [value[i] for i in others]:
            raise self._error(
                f"query {query} and value {value} differ in more than features and the axes "
                f"attended along, {along}",
                ShapeError,
            )
        return along

    def _seen(
        self, queries: _Places, keys: _Places, of_query: Any, of_value: Any, of_key: Any, whole: Any
    ) -> Tensor | None:
        """Which keys a query may see, as masks say; broadcasts to the scores."""
        rows = self._of_places("query_mask", queries, of_query)
        columns = _both(
            self._of_places("value_mask", keys, of_value), self._of_places("key_mask", keys, of_key)
        )
        columns = None if columns is None else ops.matrix_transpose(columns)
        return _both(_both(rows, columns), self._of_pairs(queries, keys, whole))

    def _of_places(self, argument: str, places: _Places, mask: Any) -> Tensor | None:
        """A mask of queries or keys, as (batch, others, 1, places, 1)."""
        if mask is None:
            return None
        found, shape = ops.astype(as_tensor(mask), "bool"), places.shape
        if found.ndim < 2 or found.shape != shape[: found.ndim]:
            raise self._misfit(argument, found.shape, shape)
        found = ops.reshape(found, (*found.shape, *(1,) * (len(shape) - found.ndim)))
        return places.gathered(ops.broadcast_to(found, shape)[..., None, None])

    def _of_pairs(self, queries: _Places, keys: _Places, mask: Any) -> Tensor | None:
        """The attention mask, as (batch, others, heads, queries, keys)."""
        if mask is None:
            return None
        found = ops.astype(as_tensor(mask), "bool")
        pairs = (*queries.sizes, *keys.sizes)
        lead = (*queries.others, self.num_heads)
        given, ends = found.shape, found.ndim - len(pairs)
        # The axes that are lacking stand between the batch and the queries, heads last.
        head = (*given[: max(ends, 0)], *(1,) * (len(lead) - ends))
        full = (*lead, *pairs)
        sizes = (*head, *given[ends:])
        if ends < 0 or len(sizes) != len(full) or any(map(_differ, sizes, full)):
            raise self._misfit("attention_mask", given, full)
        found = ops.broadcast_to(ops.reshape(found, (*head, *given[ends:])), (*head, *pairs))
        return ops.reshape(found, (*head, queries.count, keys.count))

    def _misfit(self, argument: str, shape: Shape, expected: Shape) -> Exception:
        return self._error(f"{argument} of shape {shape} does not fit {expected}", ShapeError)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return previous_mask


def _differ(size: int, other: int) -> bool:
    """Whether one size does not broadcast to the other."""
    return size not in (1, other)


class _Places:
    """The places of inputs (..., features) of this shape without features: those that are attended
    along, and the others."""

    def __init__(self, shape: tuple[int, ...], along: tuple[int, ...]) -> None:
        others = [i for i in range(len(shape)) if i not in along]
        self.shape = shape
        self.sizes = tuple([shape[i] for i in along])
        self.others = tuple([shape[i] for i in others])
        self.count = math.prod(self.sizes)
        self._order = [*others, len(shape), *along, len(shape) + 1]

    def gathered(self, x: Tensor) -> Tensor:
        """(*shape, heads, size) as (batch, others, heads, places, size)."""
        heads, size = x.shape[-2:]
        moved = ops.permute_dims(x, self._order)
        return ops.reshape(moved, (*self.others, heads, self.count, size))

    def scattered(self, x: Tensor) -> Tensor:
        """Undoes `gathered`."""
        heads, _, size = x.shape[-3:]
        apart = ops.reshape(x, (*self.others, heads, *self.sizes, size))
        back = [self._order.index(i) for i in range(len(self._order))]
        return ops.permute_dims(apart, back)


class _Projection(Layer):
    """A product over the last axes, with a kernel (*before, *after), plus a bias (*after), and an
    activation."""

    def __init__(
        self,
        after: Shape,
        kernel: dict[str, Any],
        bias: dict[str, Any] | None,
        activation: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.after = after
        self._kernel = kernel
        self._bias = bias
        self.bias: Variable | None = None
        self.activation = activations.get(activation)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        given = (*input_shape, *self.after)
        name = "MultiHeadAttention"
        shape = [arguments.known_size(name, given, axis) for axis in range(len(given))]
        self.before = len(input_shape)
        first = _between(self._kernel["initializer"], self.before, len(shape))
        kernel = {**self._kernel, "initializer": first}
        self.kernel = self.add_weight(name="kernel", shape=shape, **kernel)
        if self._bias is not None:
            self.bias = self.add_weight(name="bias", shape=shape[self.before :], **self._bias)
        self.input_spec = InputSpec(axes=dict(zip(range(-self.before, 0), shape, strict=False)))

    def call(self, inputs: Tensor) -> Tensor:
        lead = inputs.shape[: -self.before]
        kernel = ops.reshape(self.kernel, (math.prod(inputs.shape[-self.before :]), -1))
        found = ops.matmul(ops.reshape(inputs, (*lead, kernel.shape[0])), kernel)
        found = ops.reshape(found, (*lead, *self.kernel.shape[self.before :]))
        return self.activation(found if self.bias is None else found + self.bias)


def _between(initializer: Any, before: int, ndim: int) -> Any:
    """An initializer for a kernel whose first `before` axes are inputs, and the others outputs."""
    found = initializers.get(initializer)
    if not isinstance(found, initializers.VarianceScaling) or found.input_axes is not None:
        return found
    axes = {"input_axes": tuple(range(before)), "output_axes": tuple(range(before, ndim))}
    return type(found).from_config({**found.get_config(), **axes})


# Scores and masks


def _shown(scores: Tensor, seen: Tensor | None, causal: bool) -> Tensor | None:
    """Which keys a query sees: with `causal` none after it."""
    queries, keys = _numbered(scores)
    return _both(seen, queries >= keys if causal else None)


def _weights(scores: Tensor, shown: Tensor | None) -> Tensor:
    """softmax(scores) among the keys that are shown; all alike where none is."""
    if shown is None:
        return ops.softmax(scores)
    # Low, and finite: of a row of -infinity softmax would be NaN.
    lowest = -3e4 if dtypes.is_half(scores.dtype) else -1e30
    return ops.softmax(ops.where(shown, scores, lowest))


def _cleared(weights: Tensor, shown: Tensor | None) -> Tensor:
    """0 where no key is shown. (With `causal` alone all see the first.)"""
    return weights if shown is None else ops.where(shown, weights, 0.0)


def _numbered(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The places of the queries and keys of scores (..., queries, keys)."""
    queries, keys = [ops.arange(n, device=scores.device) for n in scores.shape[-2:]]
    return queries[:, None], keys


def _both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return ops.logical_and(one, other)


class Attention(Layer):
    """Attention of one head, without kernels: `layer([query, value])`, or `[query, value, key]`.

    From (batch, queries, features) and (batch, keys, features) to (batch, queries, features);
    with `return_attention_scores` also the weights (batch, queries, keys). Scores are products of
    queries and keys, times a scalar weight `scale` with `use_scale`; with `score_mode="concat"`
    concat_score_weight * sum(tanh(scale * (query + key))).

    Calls take `mask`, a list of masks of queries and values (batch, places): what a masked query
    gets is 0, a masked value is not seen; and `use_causal_mask`. `dropout` is that of the weights.

    >>> x = ops.ones((3, 5, 8))
    >>> Attention()([x, x]).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        name = type(self).__name__
        self.use_scale = use_scale
        self.score_mode = arguments.one_of(name, "score_mode", score_mode, ("dot", "concat"))
        rate = fraction(name, "dropout", dropout)
        self.dropout = Dropout(rate, seed=seed, dtype=self.dtype_policy)
        self.scale: Variable | None = None
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        if self.use_scale:
            self.scale = self.add_weight(name="scale", initializer="ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                name="concat_score_weight", initializer="ones"
            )

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """How well each query and each key agree: (batch, queries, keys)."""
        if self.score_mode == "concat":
            return self.concat_score_weight * ops.sum(self._tanh_of_sums(query, key), axis=-1)
        found = ops.matmul(query, ops.matrix_transpose(key))
        return found if self.scale is None else found * self.scale

    def _tanh_of_sums(self, query: Tensor, key: Tensor) -> Tensor:
        """(batch, queries, keys, features)."""
        sums = query[:, :, None] + key[:, None]
        return ops.tanh(sums if self.scale is None else sums * self.scale)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value, key = self._three(inputs)
        of_query, of_value = self._masks(mask, query.shape, value.shape)
        scores = self.scores(query, key)
        columns = None if of_value is None else of_value[:, None]
        shown = _shown(scores, columns, use_causal_mask)
        weights = _weights(scores, shown)
        if columns is not None:
            weights = _cleared(weights, shown)
        found = ops.matmul(self.dropout(weights, training=training), value)
        if of_query is not None:
            found = ops.where(of_query[..., None], found, 0.0)
        return (found, weights) if return_attention_scores else found

    def _three(self, inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            raise self._error("inputs are [query, value] or [query, value, key]")
        query, value, *rest = [as_tensor(x) for x in inputs]
        key = rest[0] if rest else value
        shapes = (query.shape, value.shape, key.shape)
        if (
            {len(shape) for shape in shapes} != {3}
            or len({shape[0] for shape in shapes}) > 1
            or query.shape[2] != key.shape[2]
            or key.shape[1] != value.shape[1]
        ):
            raise self._error(
                f"query {shapes[0]}, value {shapes[1]} and key {shapes[2]} must be (batch, places, "
                "features), of one batch, one number of features of queries and keys, and as many "
                "keys as values",
                ShapeError,
            )
        return query, value, key

    def _masks(self, mask: Any, *shapes: Shape) -> list[Tensor | None]:
        """The masks of queries and of values."""
        given = [None, None] if mask is None else mask
        if not isinstance(given, (list, tuple)) or len(given) not in (2, 3):
            raise self._error("mask is a list, [mask of queries, mask of values]")
        found: list[Tensor | None] = []
        for one, shape in zip(given, shapes, strict=False):
            boolean = None if one is None else ops.astype(as_tensor(one), "bool")
            if boolean is not None and boolean.shape != shape[:2]:
                raise self._error(
                    f"a mask of shape {boolean.shape} does not fit {shape[:2]}", ShapeError
                )
            found.append(boolean)
        return found

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None if previous_mask is None else previous_mask[0]


class AdditiveAttention(Attention):
    """Attention whose scores are sum(scale * tanh(query + key)), with a weight `scale` (features)
    unless `use_scale` is False. Calls are those of Attention.

    Source: D. Bahdanau et al., Neural machine translation by jointly learning to align and
    translate, arXiv:1409.0473.

    >>> x = ops.ones((3, 5, 8))
    >>> AdditiveAttention()([x, x]).shape
    (3, 5, 8)
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **settings: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **settings)

    def build(self, input_shape: Any) -> None:
        if self.use_scale:
            features = arguments.known_size(type(self).__name__, input_shape[0], -1)
            self.scale = self.add_weight(name="scale", shape=(features,))

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """How well each query and each key agree: (batch, queries, keys)."""
        found = ops.tanh(query[:, :, None] + key[:, None])
        return ops.sum(found if self.scale is None else found * self.scale, axis=-1)
