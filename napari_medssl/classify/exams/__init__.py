"""Whole exams: several planes, several labels, many slices; read, learned from, scored."""
