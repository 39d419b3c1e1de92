"""Pages: one self-contained HTML file to open and send."""
