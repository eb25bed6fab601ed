"""What the table answers, as plain values, which the API hands on as they are.

Apart from the queries, so that whoever asks through the API loads no database library; an import contract says so.
"""
