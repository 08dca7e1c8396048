"""Pictures from anywhere, checked and named once: for training, probing, predicting, explaining and comparing alike."""
