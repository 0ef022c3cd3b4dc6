"""The border between cities and tensors: splits, scales, tasks and batches."""
