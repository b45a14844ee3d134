"""Autobahn's cases against both sides of each adapter."""
