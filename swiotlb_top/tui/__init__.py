"""The screen: frames drawn with rich, kept on the terminal with Textual."""
