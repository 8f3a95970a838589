"""How a network is trained while its masks change."""
