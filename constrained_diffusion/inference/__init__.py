"""What the logits say, given the constraint: exact inference for one pass over the canvas."""
