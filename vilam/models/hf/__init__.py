"""Hugging Face VLMs: every model of transformers that answers questions about an image."""

ABOUT = "vilam_hf.json"
"""The file that marks the folder of such a model."""
