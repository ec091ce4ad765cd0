"""What the text must be: descriptions of languages of byte strings, and their algebra."""
