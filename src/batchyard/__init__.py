"""Batchyard: an open AWS Batch that anyone can run."""

__version__ = "0.1.0"
