"""The dissection on disk: the only room that knows a file's name in it."""
