"""Reading traces side by side: items and judgments as records, filters, and one page in a file, a cell or a server."""
