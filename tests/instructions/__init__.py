"""How many instructions the core takes for what it does most: a replay of recorded packets."""
