"""What makes a program for a device of a traced graph.

Knows the engine's graph and operations; the engine finds the module of a device's name here when it
is first asked to compile, and `stepwise` for a device that has none. Each has
`lower(graph, updates)`, which gives a program: callable, and readable by `as_text(stage)`.
"""

from collections.abc import Mapping

from tinygrad_edu.errors import ArgumentError


def text_of(stages: Mapping[str, object], stage: str) -> str:
    """A stage of a lowering, as text; or what a function of no arguments makes of it. Raises
    ArgumentError for one that it does not have."""
    if stage not in stages:
        known = ", ".join(map(repr, stages))
        raise ArgumentError(f"as_text: there is no stage {stage!r}; use one of {known}")
    found = stages[stage]
    return str(found() if callable(found) else found)
