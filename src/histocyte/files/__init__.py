"""Files written whole or not at all, whatever stops us, in folders that one process at a time works in."""
