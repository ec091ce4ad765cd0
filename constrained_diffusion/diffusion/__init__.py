"""The refinement loop: from noise to a valid text, the constraint acting at every pass."""
