"""Tensors: their names, types and files, without any framework and without pickle."""
