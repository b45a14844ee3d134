"""What `adapters.shared` does by itself, on no runtime."""
