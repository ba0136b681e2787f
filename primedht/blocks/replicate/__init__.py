"""Large values on more than one node: offers, receipts, and what is kept for others."""
