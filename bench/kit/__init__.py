"""Measures servers, clients and protocol cores of several libraries; see bench/README.md."""
