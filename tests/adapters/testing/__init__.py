"""Tests of the test tools for applications."""
