"""What a data scientist asks of the core: search, and compare what was found."""
