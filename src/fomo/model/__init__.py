"""The masked diffusion transformer: equation (10), its embeddings, presets and checkpoints."""
