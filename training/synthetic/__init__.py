"""Rich synthetic worlds with exact depth, rendered from the assets of free games installed on the machine."""
