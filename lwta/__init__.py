"""The command line and the demo: the only room that knows both training and dissection."""
