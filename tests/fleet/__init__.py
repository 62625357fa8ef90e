"""Workers of a fleet that die, and servers that fail them; what the store keeps, judged from outside."""
