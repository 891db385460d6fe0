"""Files written whole or not at all, in folders of one process at a time; the guard around others' parsers."""
