"""Models and their versions: records of a name's owner above blocks."""
