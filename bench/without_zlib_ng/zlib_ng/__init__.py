"""Hides the package zlib-ng from a program that has this folder in its path."""

raise ImportError("zlib-ng is hidden")
