"""A process that holds one program and runs it when asked; it sleeps while others are timed.

Each program has a process of its own because thread pools, allocators and global settings of one
library would otherwise disturb the next. Knows nothing of what the program computes.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

PATIENCE_SECONDS = 300  # compiling may take minutes; a hang must not take the night
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(Exception):
    """The program raised, died or never answered; the text says which."""


class Worker:
    """A process that calls `make` once and then functions of what it made."""

    def __init__(self, make: Callable[[], Any], threads: int | None = None) -> None:
        # Spawned, not forked: a fork would inherit the parent's libraries and their settings.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(make, theirs), daemon=True)
        with environment(thread_settings(threads)):
            self._process.start()
        theirs.close()

    def ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """`question(made, *arguments)`, computed over there."""
        try:
            self._connection.send((question, arguments))
            if not self._connection.poll(PATIENCE_SECONDS):
                raise WorkerError(f"no answer for {PATIENCE_SECONDS} s")
            answer, failure = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(1)
            raise WorkerError(f"its process ended with {self._process.exitcode}") from None
        if failure:
            raise WorkerError(failure)
        return answer

    def stop(self) -> None:
        self._connection.close()
        self._process.join(1)
        if self._process.is_alive():
            self._process.kill()


def serve(make: Callable[[], Any], connection: Connection) -> None:
    """The worker's side. What goes wrong while making is the answer to the first question."""
    silence()
    made = None
    try:
        while True:
            question, arguments = connection.recv()
            if made is None:
                made = make()
            connection.send((question(made, *arguments), ""))
    except EOFError:
        return  # the parent hung up: done
    except Exception as error:
        connection.send((None, f"{type(error).__name__}: {error}"))


def silence() -> None:
    """Drop what libraries print as they start; failures go through the pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def thread_settings(threads: int | None) -> dict[str, str]:
    if threads is None:
        return {}
    return {variable: str(threads) for variable in THREAD_VARIABLES}


@contextmanager
def environment(settings: dict[str, str]) -> Iterator[None]:
    """Set variables for the process that starts inside: libraries read them when imported."""
    saved = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)
