"""Scores, protocols, tables and figures. Reads forecasts, never the model."""
