"""The words of Celadon: names, states, models and messages, and how each is read and written."""
