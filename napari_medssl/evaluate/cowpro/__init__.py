"""The published tables of CoWPro (thesis 7.1 to 7.4), measured again: train by folds, segment, put numbers beside."""
