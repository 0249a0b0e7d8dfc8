"""One file for each ledger outside: data versions, studies, solution versions."""
