"""Networks, their registry and their checkpoints. Importing this package does not import torch; building a network does."""
