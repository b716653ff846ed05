"""From an image to relative inverse depth: pre-processing, backend, post-processing. Torch only in its backend."""
