"""Models behind one seam, ``Denoiser``: adapters, stand-ins for tests, and the small bundled model."""
