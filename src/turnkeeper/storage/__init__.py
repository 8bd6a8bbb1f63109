"""What the server keeps: one contract, a folder for each database, SQL in files of its own."""
