"""Commands around the server: register, package, start, score. One line each in README.md."""
