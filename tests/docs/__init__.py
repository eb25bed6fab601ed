"""What the documentation says, compared with the code; and the generators of the pages that only repeat the code."""
