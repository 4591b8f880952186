"""Everything that is measured, as data: the jobs, who competes, and what is promised.

A new benchmark is a new row here and a function that makes its program; nothing else changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

from benchmarks import (
    by_hand,
    classifier,
    compilation_costs,
    compiled,
    engine_costs,
    operations,
    random_numbers,
    training,
    windows,
)
from benchmarks.plan import Case, Contender, Field, Limit, Probe, Program, Race, Standard, Target

OURS = ("ours, tape", "ours, backward", "ours, functional")
TORCH = (
    "PyTorch, 1 thread",
    "PyTorch, 2 threads",
    "PyTorch compiled, 1 thread",
    "PyTorch compiled, 2 threads",
)


def _torch(eager: Callable[[], Program], by_compiler: Callable[[], Program]) -> list[Contender]:
    """Those that a target against TORCH is about."""
    return [
        Contender(name, make, "torch", threads)
        for name, (make, threads) in zip(
            TORCH, itertools.product((eager, by_compiler), (1, 2)), strict=True
        )
    ]


CLASSIFIER = Race(
    name="classifier",
    title="One training step of the linear classifier",
    note="2,000 points of 2 float32 numbers, mean squared error: forward, backward and update.",
    contenders=(
        Contender("ours, jit", classifier.ours_jit, "tinygrad_edu"),
        Contender("ours, tape", classifier.ours_tape, "tinygrad_edu"),
        Contender("ours, backward", classifier.ours_backward, "tinygrad_edu"),
        Contender("ours, functional", classifier.ours_functional, "tinygrad_edu"),
        Contender("NumPy by hand", classifier.numpy_by_hand),
        Contender("NumPy tuned", classifier.numpy_tuned),
        *_torch(classifier.torch_eager, classifier.torch_compiled),
        Contender("TensorFlow eager", classifier.tensorflow_eager, "tensorflow", threads=None),
        Contender("tf.function", classifier.tensorflow_function, "tensorflow", threads=None),
        Contender("tf.function, XLA", classifier.tensorflow_xla, "tensorflow", threads=None),
        Contender("JAX jit", classifier.jax_jit, "jax", threads=None),
        Contender("HIPS autograd", classifier.hips_autograd, "autograd"),
        Contender("MyGrad", classifier.mygrad_backward, "mygrad"),
    ),
    baseline="NumPy by hand",
    targets=(
        Target("ours, jit", "NumPy tuned", 1.25, plus=3),
        Target("ours, jit", "JAX jit", 0.6),
        Target("ours, jit", TORCH, 0.35),
        Target("ours, jit", "tf.function, XLA", 0.15),
        *(
            Target(style, against, at_most, aim)
            for against, at_most, aim in (
                ("NumPy by hand", 2.5, 1.8),
                ("PyTorch, 1 thread", 0.5, None),
                ("HIPS autograd", 0.4, None),
                ("MyGrad", 0.4, None),
            )
            for style in OURS
        ),
    ),
)

ADDITION = Race(
    name="addition",
    title="One recorded addition of two 8-element tensors",
    note="Eager, under an open tape that watches one operand, with the source line kept.",
    contenders=(
        Contender("ours, recorded", engine_costs.recorded_addition, "tinygrad_edu"),
        Contender("numpy.add", engine_costs.numpy_addition),
    ),
    baseline="numpy.add",
    targets=(Target("ours, recorded", "numpy.add", 1.5, kind="above"),),
    per=engine_costs.ADDITIONS,
)

IMPORT = Race(
    name="import",
    title="Importing the engine",
    note="A fresh interpreter each time, from its start to its end.",
    contenders=(
        Contender("import tinygrad_edu", engine_costs.import_ours, "tinygrad_edu"),
        Contender("import numpy", engine_costs.import_numpy),
    ),
    baseline="import numpy",
    targets=(Target("import tinygrad_edu", "import numpy", 50, kind="above"),),
    unit="ms",
)

OPTIONAL = Probe(
    name="optional",
    title="What importing the engine brings along",
    note="Looked for: " + ", ".join(engine_costs.OPTIONAL_PACKAGES) + ".",
    measure=engine_costs.optional_imports,
    limits=(Limit("optional packages imported", 0),),
    needs="tinygrad_edu",
)

MEMORY = Probe(
    name="memory",
    title="Memory of 10,000 training steps without a garbage collector",
    note="Resident memory of one process that trains in each style in turn.",
    measure=engine_costs.memory_of_training,
    limits=tuple(Limit(f"{style}: growth, MiB", 1) for style in engine_costs.STYLES),
    needs="tinygrad_edu",
)

CHAIN = Probe(
    name="chain",
    title="A chain of 1,000,000 operations",
    note="Scalar additions, each of the last one's result; no recursion, so it comes to an end.",
    measure=engine_costs.long_chain,
    limits=(),
    needs="tinygrad_edu",
)

OPERATIONS = Field(
    name="operations",
    title="Forty operations, forward and backward",
    note="Eager, float32, one thread; ours through a tape.",
    contenders=(
        Contender("ours", operations.ours, "tinygrad_edu"),
        Contender("PyTorch", operations.torch_eager, "torch"),
        Contender("HIPS autograd", operations.hips_autograd, "autograd"),
    ),
    baseline="ours",
    standards=(
        Standard("ours", "PyTorch", "8", 0.7),
        Standard("ours", "PyTorch", "1,000", 0.7),
        Standard("ours", "PyTorch", "1,000,000", 1.1, worst=3),
        Standard("ours", "HIPS autograd", "8", 0.5),
        Standard("ours", "HIPS autograd", "1,000", 0.5),
    ),
)

RANDOM = Probe(
    name="random",
    title="Random numbers",
    note="Processor time, float32; JAX's (all threads together) is for the same numbers.",
    measure=random_numbers.costs,
    limits=(
        Limit("split of a key, µs", 15),
        Limit("a million 32-bit words, ms", 35),
        Limit("a million normals, ms", 80),
    ),
    needs="tinygrad_edu",
)


def _training(
    name: str,
    title: str,
    note: str,
    targets: tuple[Target, ...],
    *,
    by_hand: bool,
    tensorflow: bool,
) -> Race:
    """A race of whole training steps."""
    contenders = [
        Contender("ours, jit", partial(compiled.ours, name), "tinygrad_edu", None),
        Contender("JAX jit", partial(compiled.jax_jit, name), "jax", None),
        *_torch(partial(compiled.torch_eager, name), partial(compiled.torch_compiled, name)),
    ]
    if by_hand:
        by_numpy = partial(compiled.numpy_by_hand, name)
        contenders.append(Contender("NumPy by hand", by_numpy, threads=None))
    if tensorflow:
        contenders += [
            Contender(label, partial(make, name), "tensorflow", None)
            for label, make in (
                ("tf.function", compiled.tensorflow_function),
                ("tf.function, XLA", compiled.tensorflow_xla),
            )
        ]
    return Race(
        name=name,
        title=title,
        note=note,
        contenders=tuple(contenders),
        baseline="NumPy by hand" if by_hand else "JAX jit",
        targets=targets,
        unit="ms",
        tolerance=1e-3,
    )


TENSORFLOW = ("tf.function", "tf.function, XLA")

TRAININGS = (
    _training(
        "mlp",
        "One training step of a perceptron",
        "784-512-512-10, relu, a batch of 128, float32: forward, backward and update.",
        (
            Target("ours, jit", ("JAX jit", *TORCH, *TENSORFLOW), 1.25),
            Target("ours, jit", TORCH, 1),
            Target("ours, jit", TENSORFLOW, 1),
        ),
        by_hand=True,
        tensorflow=True,
    ),
    _training(
        "mlp_adam",
        "One training step of a perceptron, with Adam",
        "784-512-512-10, relu, a batch of 32, float32: forward, backward and update.",
        (Target("ours, jit", ("JAX jit", *TORCH, *TENSORFLOW), 1.25),),
        by_hand=True,
        tensorflow=True,
    ),
    _training(
        "transformer",
        "One training step of a character Transformer",
        "2 layers, width 128, 4 heads, 64 characters, a batch of 16, AdamW, float32.",
        (Target("ours, jit", ("JAX jit", *TORCH), 1.5),),
        by_hand=False,
        tensorflow=False,
    ),
    _training(
        "convnet",
        "One training step of a convolutional network",
        "28x28x1, two 3x3 convolutions of 32 and 64, pooling, dense; a batch of 64, float32.",
        (Target("ours, jit", ("JAX jit", *TORCH, *TENSORFLOW), 2),),
        by_hand=False,
        tensorflow=True,
    ),
)

ADAM = Race(
    name="adam",
    title="Adam's update of 4,000,000 weights",
    note="In place, float32, of one array and a gradient that is there.",
    contenders=(
        Contender("ours, jit", compiled.our_adam_update, "tinygrad_edu", None),
        Contender("NumPy, as the formula", compiled.numpy_plain_adam_update),
        Contender("JAX jit", compiled.jax_adam_update, "jax", None),
        Contender("PyTorch, 1 thread", compiled.torch_adam_update, "torch"),
        Contender("PyTorch, 2 threads", compiled.torch_adam_update, "torch", 2),
    ),
    baseline="NumPy, as the formula",
    targets=(Target("ours, jit", "JAX jit", 1.6),),
    unit="ms",
)

LOSS = Race(
    name="loss",
    title="Softmax cross-entropy and its gradient",
    note="8,192 times 1,000 classes, float32.",
    contenders=(
        Contender("ours, jit", compiled.our_loss, "tinygrad_edu", None),
        Contender("JAX jit", compiled.jax_loss, "jax", None),
        *_torch(compiled.torch_loss_eager, compiled.torch_loss_compiled),
    ),
    baseline="JAX jit",
    targets=(Target("ours, jit", "JAX jit", 0.8),),
    unit="ms",
    tolerance=1e-4,
)

CALLS = Probe(
    name="calls",
    title="Calling a compiled function",
    note="An empty one of 4 arrays; the same signature as last time, and two that take turns.",
    measure=compilation_costs.calls,
    limits=(Limit("the same signature, µs", 3), Limit("signatures in turn, µs", 6)),
    needs="tinygrad_edu",
)

LOWERING = Probe(
    name="lowering",
    title="Tracing and lowering",
    note="An unrolled recurrent network with its gradient, by the number of equations.",
    measure=compilation_costs.lowering,
    limits=(
        Limit("1,000 equations, s", 0.5),
        Limit("10,000 equations, times what 1,000 take", 15),
    ),
    needs="tinygrad_edu",
)

PEAKS = Probe(
    name="peaks",
    title="Peak memory of compiled functions",
    note="Above what was held before the first call; a step each, and 50 operations on 100 MB.",
    measure=compilation_costs.peaks,
    limits=(
        *(Limit(f"{name}: compiled / eager", 1) for name in compiled.TRAININGS),
        Limit("50 operations: peak / (inputs + outputs)", 1.1),
    ),
    needs="tinygrad_edu",
)

KERAS = ("Keras, TensorFlow", "Keras, JAX")
LOOPS = ("PyTorch, 1 thread", "PyTorch, 2 threads")

FIT = Race(
    name="fit",
    title="A step of `fit`",
    note=(
        "A perceptron, 64-64-64-10, Adam, accuracy, 12,800 samples, shuffled, in batches of 128: "
        "128 samples in the time given. Defaults everywhere; PyTorch by a plain loop."
    ),
    contenders=(
        Contender("fit, numpy", partial(training.our_fit, "numpy"), "tinygrad_edu", None),
        Contender("fit, xla", partial(training.our_fit, "xla"), "jax", None),
        Contender("fit, xla, 20 steps a call", partial(training.our_fit, "xla", 20), "jax", None),
        Contender("its step, numpy", partial(training.our_step, "numpy"), "tinygrad_edu", None),
        Contender("its step, xla", partial(training.our_step, "xla"), "jax", None),
        Contender("NumPy by hand, tuned", by_hand.numpy_tuned, threads=None),
        *(
            Contender(name, partial(training.keras_fit, backend), "keras", None)
            for name, backend in zip(KERAS, ("tensorflow", "jax"), strict=True)
        ),
        *(
            Contender(name, training.torch_loop, "torch", threads)
            for threads, name in enumerate(LOOPS, 1)
        ),
    ),
    baseline="fit, numpy",
    targets=tuple(
        target
        for device in ("numpy", "xla")
        for target in (
            Target(f"fit, {device}", KERAS, 1 / 3),
            Target(f"fit, {device}", LOOPS, 1 / 3),
            # Ten percent may be more, where a step takes longer than this one.
            Target(f"fit, {device}", f"its step, {device}", 1, plus=25),
        )
    ),
    per=training.STEPS,
    tolerance=0.02,
)

NETWORKS: tuple[Case, ...] = tuple(
    Race(
        name=f"fit_{name}",
        title=f"A step of `fit` on xla: {what}",
        note=f"{note} Gradient descent, the mean of the loss, accuracy; the same in JAX by hand.",
        contenders=(
            Contender("fit's step, xla", partial(training.our_network, name), "jax", None),
            Contender("JAX by hand", partial(training.jax_network, name), "jax", None),
        ),
        baseline="JAX by hand",
        targets=(Target("fit's step, xla", "JAX by hand", 1 / 0.95),),
        unit="ms",
        per=training.NETWORK_STEPS,
        tolerance=1e-3,
    )
    for name, what, note in (
        ("convnet", "a ConvNet", "64 pictures of 28x28, two convolutions and a pooling."),
        ("lstm", "an LSTM", "32 sequences of 64 times 64 numbers, 128 units."),
    )
)

LARGE_DATA = Probe(
    name="large_data",
    title="Training on a file of 4 GiB",
    note="An epoch of a shuffled `Dataset.from_npy`, by `fit`; anonymous memory is no file's.",
    measure=training.memory_of_large_data,
    limits=(Limit("anonymous memory at most, MiB", 500e6 / 2**20),),
    needs="tinygrad_edu",
)

CASES: tuple[Case, ...] = (
    *(CLASSIFIER, ADDITION, IMPORT, OPTIONAL, MEMORY, CHAIN, OPERATIONS),
    RANDOM,
    *windows.RACES,
    *TRAININGS,
    *(ADAM, LOSS, CALLS, LOWERING, PEAKS, FIT, *NETWORKS, LARGE_DATA),
)
