"""The base model `tiny`: its weights, the world it draws, and the script that made it."""
