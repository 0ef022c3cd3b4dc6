"""The rivals of the paper's tables, one file each; what they share is in inputs, network, blocks and training."""
