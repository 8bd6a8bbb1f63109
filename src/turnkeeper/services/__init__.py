"""What the API can do, apart from how it is asked over HTTP and where it is kept."""
