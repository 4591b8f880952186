"""Everything that is measured, as data: the jobs, who competes, and what is promised.

A new benchmark is a new row here and a function that makes its program; nothing else changes.
"""

from __future__ import annotations

from benchmarks import classifier, engine_costs, operations, random_numbers, windows
from benchmarks.plan import Case, Contender, Field, Limit, Probe, Race, Standard, Target

OURS = ("ours, tape", "ours, backward", "ours, functional")

CLASSIFIER = Race(
    name="classifier",
    title="One training step of the linear classifier",
    note="2,000 points of 2 float32 numbers, mean squared error: forward, backward and update.",
    contenders=(
        Contender("ours, tape", classifier.ours_tape, "tinygrad_edu"),
        Contender("ours, backward", classifier.ours_backward, "tinygrad_edu"),
        Contender("ours, functional", classifier.ours_functional, "tinygrad_edu"),
        Contender("NumPy by hand", classifier.numpy_by_hand),
        Contender("NumPy tuned", classifier.numpy_tuned),
        Contender("PyTorch, 1 thread", classifier.torch_eager, "torch"),
        Contender("PyTorch, 2 threads", classifier.torch_eager, "torch", threads=2),
        Contender("PyTorch compiled, 1 thread", classifier.torch_compiled, "torch"),
        Contender("TensorFlow eager", classifier.tensorflow_eager, "tensorflow", threads=None),
        Contender("tf.function", classifier.tensorflow_function, "tensorflow", threads=None),
        Contender("tf.function, XLA", classifier.tensorflow_xla, "tensorflow", threads=None),
        Contender("JAX jit", classifier.jax_jit, "jax", threads=None),
        Contender("HIPS autograd", classifier.hips_autograd, "autograd"),
        Contender("MyGrad", classifier.mygrad_backward, "mygrad"),
    ),
    baseline="NumPy by hand",
    targets=tuple(
        Target(style, against, at_most, aim)
        for against, at_most, aim in (
            ("NumPy by hand", 2.5, 1.8),
            ("PyTorch, 1 thread", 0.5, None),
            ("HIPS autograd", 0.4, None),
            ("MyGrad", 0.4, None),
        )
        for style in OURS
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

CASES: tuple[Case, ...] = (
    *(CLASSIFIER, ADDITION, IMPORT, OPTIONAL, MEMORY, CHAIN, OPERATIONS),
    RANDOM,
    *windows.RACES,
)
