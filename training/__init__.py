"""Training: ratings and pictures in, a registered model version out."""
