"""Memory shared with PyTorch and JAX through DLPack, both ways."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch

import tinygrad_edu as edu

DTYPES = ("float32", "float64", "float16", "int32", "uint8", "int64", "bool")


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch(dtype: str) -> None:
    x = edu.tensor(np.array([[1, 0], [2, 3]]).astype(dtype))
    theirs = torch.from_dlpack(x)
    assert theirs.data_ptr() == x.numpy().ctypes.data
    np.testing.assert_array_equal(theirs.numpy(), x.numpy())
    back = edu.from_dlpack(theirs)
    assert back.dtype == dtype
    assert back.numpy().ctypes.data == theirs.data_ptr()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8", "bool"])
def test_jax(dtype: str) -> None:
    x = edu.tensor(np.array([[1, 0], [2, 3]]).astype(dtype))
    theirs = jax.dlpack.from_dlpack(x)
    np.testing.assert_array_equal(np.asarray(theirs), x.numpy())
    back = edu.from_dlpack(theirs)
    assert back.dtype == dtype
    assert back.numpy().ctypes.data == theirs.unsafe_buffer_pointer()


def test_device_xla_hands_out_its_own_memory() -> None:
    x = edu.tensor([1.0, 2.0], device="xla")
    theirs = torch.from_dlpack(x)
    assert theirs.tolist() == [1, 2]
    assert theirs.data_ptr() == x._data.unsafe_buffer_pointer()


def test_a_torch_tensor_that_requires_gradients_says_so() -> None:
    with pytest.raises(edu.errors.DtypeError, match="from_dlpack"):
        edu.from_dlpack(torch.ones(2, requires_grad=True))
