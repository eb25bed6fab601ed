"""Real model servers behind a real stack; run by ``make test-servers`` alone, in environments of their own."""
