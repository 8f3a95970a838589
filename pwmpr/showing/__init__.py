"""How runs are shown, finished or not: tables, pictures and plain values for other programs."""
