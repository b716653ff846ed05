"""Networks, their registry and their checkpoints. Importing this package does not import torch."""
