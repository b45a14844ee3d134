"""Other implementations as peers: a mistake that both of our sides make shows only here."""
