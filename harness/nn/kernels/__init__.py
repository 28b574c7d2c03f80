"""Triton kernels for what torch cannot do on a GPU without waiting for it, or only slowly.

Triton launches on the current device, wherever the tensors are: each function makes that of its
tensors the current one. Each is held by tests to the operator it stands for. Importing a module of
this package needs Triton, which comes with torch's CUDA wheels; ``TRITON_INTERPRET=1`` runs the
kernels on a CPU.
"""
