"""The images that a unit answers to most, and where in them: what describers look at."""
