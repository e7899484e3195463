"""Seeded random views of samples: images, audio, text."""
