"""Every operation, gradient and training run of tinygrad_edu, held against TensorFlow, PyTorch and
JAX. Needs all three: pip install 'tinygrad_edu[reference]'."""
