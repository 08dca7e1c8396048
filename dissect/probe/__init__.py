"""The images a dissection looks at."""
