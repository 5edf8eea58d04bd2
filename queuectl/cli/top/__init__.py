"""The live screen of `queuectl top`: what it shows, and the two ways in which that is drawn.

`app` needs Textual (the extra `tui`), and is imported only where the screen is drawn by it; `live_view` needs nothing.
"""
