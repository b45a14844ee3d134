"""What a client decides before it has a connection: its proxy, redirects, and when to try again."""
