"""Plans from forecasts: which radio units sleep, who gets which resource blocks, where stations go."""
