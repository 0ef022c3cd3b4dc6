"""The diffusion process, its loss and its samplers: equations (8), (9), (11). Knows a denoiser, not the network."""
