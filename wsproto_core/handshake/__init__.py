"""The opening handshake (RFC 6455 section 4): a client's, a server's, their checks, what they negotiate."""
