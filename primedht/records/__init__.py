"""Records: key classes, validators and the rule between two records of a key. Pure."""
