"""Training a decision layer on the features of a frozen backbone: features, fitting, a sweep of settings."""
