"""MILAN's model (Hernandez et al. 2022, arXiv 2201.11114): from masked pictures to words."""
