"""What each unit means."""
