"""Measurements that anyone can repeat: speed of the information gain, of curiosity, of the tasks."""
