"""Cells on disk while a slide is being worked on: journal, resume, settlement of block borders."""
