"""Gradients and parameters of PyTorch models: `watch` and `unwatch`."""
